/* See tls_pipe_tls.h. To whoever looks on from outside it is TLS 1.3 as to any web server: X.509,
 * the usual ciphers, compatibility mode, ALPN http/1.1. */
#include "transport/tls_pipe_tls.h"

#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdlib.h>

#define PRIORITY                                                                                   \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"
/* SPEC relay-tls §2: from 2020 to 2100, no clock has to be right. */
#define VALID_FROM  1577836800
#define VALID_UNTIL 4102444800

struct px_tls_pipe_tls {
    bool server;
    gnutls_priority_t priority;
    gnutls_certificate_credentials_t credentials;
};

static int error_from(int code)
{
    return code == GNUTLS_E_MEMORY_ERROR ? PX_ENOMEM : PX_ETLS;
}

static int describe(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
    static const char name[] = "localhost";
    uint8_t serial[16];
    int rv = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, of full length */
    if (rv == 0)
        rv = gnutls_x509_crt_set_version(crt, 3);
    if (rv == 0)
        rv = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
    if (rv == 0)
        rv = gnutls_x509_crt_set_activation_time(crt, VALID_FROM);
    if (rv == 0)
        rv = gnutls_x509_crt_set_expiration_time(crt, VALID_UNTIL);
    if (rv == 0)
        rv = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                           sizeof(name) - 1);
    if (rv == 0)
        rv = gnutls_x509_crt_set_key(crt, key);
    return rv == 0 ? gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0) : rv;
}

static int set_own_certificate(gnutls_certificate_credentials_t credentials)
{
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t crt = NULL;
    int rv = gnutls_x509_privkey_init(&key);
    if (rv == 0)
        rv = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                          GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (rv == 0)
        rv = gnutls_x509_crt_init(&crt);
    if (rv == 0)
        rv = describe(crt, key);
    if (rv == 0)
        rv = gnutls_certificate_set_x509_key(credentials, &crt, 1, key); /* copies both */
    if (crt != NULL)
        gnutls_x509_crt_deinit(crt);
    if (key != NULL)
        gnutls_x509_privkey_deinit(key);
    return rv < 0 ? rv : 0;
}

int px_tls_pipe_tls_new(bool server, struct px_tls_pipe_tls **ret)
{
    struct px_tls_pipe_tls *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return PX_ENOMEM;
    t->server = server;
    int rv = gnutls_priority_init(&t->priority, PRIORITY, NULL);
    if (rv == 0)
        rv = gnutls_certificate_allocate_credentials(&t->credentials);
    if (rv == 0 && server)
        rv = set_own_certificate(t->credentials);
    if (rv < 0) {
        px_tls_pipe_tls_free(t);
        return error_from(rv);
    }
    *ret = t;
    return 0;
}

void px_tls_pipe_tls_free(struct px_tls_pipe_tls *t)
{
    if (t == NULL)
        return;
    if (t->credentials != NULL)
        gnutls_certificate_free_credentials(t->credentials);
    if (t->priority != NULL)
        gnutls_priority_deinit(t->priority);
    free(t);
}

/* SPEC relay-tls §2: offered and chosen, never insisted on */
static int set_alpn(gnutls_session_t s)
{
    static const char text[] = "http/1.1";
    unsigned char bytes[sizeof(text)];
    memcpy(bytes, text, sizeof(text));
    const gnutls_datum_t alpn = {bytes, sizeof(text) - 1};
    return gnutls_alpn_set_protocols(s, &alpn, 1, 0);
}

static int configure(const struct px_tls_pipe_tls *t, gnutls_session_t s, int fd, const char *name)
{
    int rv = gnutls_priority_set(s, t->priority);
    if (rv == 0)
        rv = gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, t->credentials);
    if (rv == 0)
        rv = set_alpn(s);
    if (rv == 0 && !t->server && name[0] != '\0')
        rv = gnutls_server_name_set(s, GNUTLS_NAME_DNS, name, strlen(name));
    gnutls_transport_set_int(s, fd);
    gnutls_handshake_set_timeout(s, 0); /* the pipe has its own */
    return rv;
}

int px_tls_pipe_tls_session(const struct px_tls_pipe_tls *t, int fd, const char *name,
                            gnutls_session_t *ret)
{
    gnutls_session_t s;
    unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS |
                     (t->server ? GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET : GNUTLS_CLIENT);
    int rv = gnutls_init(&s, flags);
    if (rv < 0)
        return error_from(rv);
    rv = configure(t, s, fd, name);
    if (rv < 0) {
        gnutls_deinit(s);
        return error_from(rv);
    }
    *ret = s;
    return 0;
}
