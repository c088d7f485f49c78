/* TLS 1.3 for QUIC (RFC 9001) by GnuTLS with mutual raw public keys (RFC 7250).
 *
 * The key pair lives as long as the endpoint and proves nothing: transport/link binds the identity
 * to the channel with the exporter. So no certificate is ever verified here, and there are no
 * tickets, no PSK and no early data. */
#include <gnutls/abstract.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <stdlib.h>

#include "transport/quic_internal.h"

/* AES-GCM first: GnuTLS does ChaCha20 13 times slower. */
#define PRIORITY                                                                                   \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"      \
    "-GROUP-ALL:+GROUP-X25519:-CTYPE-ALL:+CTYPE-RAWPK:%DISABLE_TLS13_COMPAT_MODE"

struct px_quic_tls {
    gnutls_priority_t priority;
    gnutls_certificate_credentials_t credentials;
};

static int generate_key(gnutls_privkey_t *ret_key, gnutls_pcert_st *ret_pcert)
{
    gnutls_privkey_t key = NULL;
    gnutls_pubkey_t pub = NULL;
    int rv = gnutls_privkey_init(&key);
    if (rv == 0)
        rv = gnutls_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519,
                                     GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_ED25519), 0);
    if (rv == 0)
        rv = gnutls_pubkey_init(&pub);
    if (rv == 0)
        rv = gnutls_pubkey_import_privkey(pub, key, GNUTLS_KEY_DIGITAL_SIGNATURE, 0);
    if (rv == 0)
        rv = gnutls_pcert_import_rawpk(ret_pcert, pub, 0); /* owns pub on success */
    if (rv < 0) {
        gnutls_pubkey_deinit(pub);
        gnutls_privkey_deinit(key);
        return rv;
    }
    *ret_key = key;
    return 0;
}

static int set_ephemeral_key(gnutls_certificate_credentials_t credentials)
{
    gnutls_privkey_t key;
    gnutls_pcert_st pcert;
    int rv = generate_key(&key, &pcert);
    if (rv < 0)
        return rv;
    /* Copies the pcert's struct and owns key and content on success. */
    rv = gnutls_certificate_set_key(credentials, NULL, 0, &pcert, 1, key);
    if (rv < 0) {
        gnutls_pcert_deinit(&pcert);
        gnutls_privkey_deinit(key);
    }
    return rv;
}

int px_quic_tls_new(struct px_quic_tls **ret)
{
    struct px_quic_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return PX_ENOMEM;
    int rv = gnutls_priority_init(&tls->priority, PRIORITY, NULL);
    if (rv == 0)
        rv = gnutls_certificate_allocate_credentials(&tls->credentials);
    if (rv == 0)
        rv = set_ephemeral_key(tls->credentials);
    if (rv < 0) {
        px_quic_tls_free(tls);
        return px_quic_error_from_gnutls(rv);
    }
    *ret = tls;
    return 0;
}

void px_quic_tls_free(struct px_quic_tls *tls)
{
    if (tls == NULL)
        return;
    if (tls->credentials != NULL)
        gnutls_certificate_free_credentials(tls->credentials);
    if (tls->priority != NULL)
        gnutls_priority_deinit(tls->priority);
    free(tls);
}

/* The order of these calls matters to GnuTLS and to ngtcp2's helper. */
static int configure(const struct px_quic_tls *tls, bool server, ngtcp2_crypto_conn_ref *ref,
                     gnutls_session_t s)
{
    int rv = gnutls_priority_set(s, tls->priority);
    if (rv < 0)
        return rv;
    rv = server ? ngtcp2_crypto_gnutls_configure_server_session(s)
                : ngtcp2_crypto_gnutls_configure_client_session(s);
    if (rv != 0)
        return GNUTLS_E_INTERNAL_ERROR;
    gnutls_session_set_ptr(s, ref);
    rv = gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, tls->credentials);
    if (rv < 0)
        return rv;
    static const char alpn_text[] = PX_QUIC_ALPN;
    unsigned char alpn_bytes[sizeof(alpn_text)];
    memcpy(alpn_bytes, alpn_text, sizeof(alpn_text));
    const gnutls_datum_t alpn = {alpn_bytes, sizeof(alpn_text) - 1};
    rv = gnutls_alpn_set_protocols(s, &alpn, 1, GNUTLS_ALPN_MANDATORY);
    if (rv == 0 && server)
        gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUIRE);
    return rv;
}

int px_quic_tls_session(const struct px_quic_tls *tls, bool server, ngtcp2_crypto_conn_ref *ref,
                        gnutls_session_t *ret)
{
    gnutls_session_t s;
    unsigned flags = GNUTLS_ENABLE_RAWPK | GNUTLS_NO_TICKETS |
                     (server ? GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET : GNUTLS_CLIENT);
    int rv = gnutls_init(&s, flags);
    if (rv < 0)
        return px_quic_error_from_gnutls(rv);
    rv = configure(tls, server, ref, s);
    if (rv < 0) {
        gnutls_deinit(s);
        return px_quic_error_from_gnutls(rv);
    }
    *ret = s;
    return 0;
}

int px_quic_tls_exporter(gnutls_session_t session, uint8_t ret[PX_QUIC_EXPORTER_LEN])
{
    char out[PX_QUIC_EXPORTER_LEN];
    int rv = gnutls_prf_rfc5705(session, sizeof(PX_QUIC_EXPORTER_LABEL) - 1, PX_QUIC_EXPORTER_LABEL,
                                0, NULL, sizeof(out), out);
    if (rv < 0)
        return px_quic_error_from_gnutls(rv);
    memcpy(ret, out, sizeof(out));
    gnutls_memset(out, 0, sizeof(out));
    return 0;
}
