/* The one mapping of ngtcp2's and GnuTLS's errors, and of the peer's transport close codes. */
#include "proto/close.h"
#include "transport/quic_internal.h"

int px_quic_error_from_gnutls(int code)
{
    if (code >= 0)
        return 0;
    return code == GNUTLS_E_MEMORY_ERROR ? PX_ENOMEM : PX_ETLS;
}

int px_quic_error_from_ngtcp2(int code)
{
    switch (code) {
    case 0:
        return 0;
    case NGTCP2_ERR_NOMEM:
        return PX_ENOMEM;
    case NGTCP2_ERR_CRYPTO:
    case NGTCP2_ERR_DECRYPT:
    case NGTCP2_ERR_REQUIRED_TRANSPORT_PARAM:
    case NGTCP2_ERR_MALFORMED_TRANSPORT_PARAM:
    case NGTCP2_ERR_TRANSPORT_PARAM:
        return PX_ETLS;
    case NGTCP2_ERR_IDLE_CLOSE:
        return PX_ETIMEDOUT;
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
        return PX_EHANDSHAKE_TIMEOUT;
    case NGTCP2_ERR_STREAM_ID_BLOCKED:
        return PX_EAGAIN;
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
    case NGTCP2_ERR_VERSION_NEGOTIATION:
    case NGTCP2_ERR_VERSION_NEGOTIATION_FAILURE:
        return PX_EUNSUPPORTED;
    case NGTCP2_ERR_DRAINING:
    case NGTCP2_ERR_CLOSING:
        return PX_ECLOSED;
    case NGTCP2_ERR_NO_VIABLE_PATH:
        return PX_EADDR;
    case NGTCP2_ERR_INTERNAL:
    case NGTCP2_ERR_CALLBACK_FAILURE:
    case NGTCP2_ERR_PKT_NUM_EXHAUSTED:
    case NGTCP2_ERR_AEAD_LIMIT_REACHED:
        return PX_EIO;
    default: /* what is left says that the peer broke the protocol */
        return PX_EPROTO;
    }
}

#define CRYPTO_ERROR_FIRST 0x100 /* RFC 9001, 4.8: 0x100 plus the TLS alert */
#define CRYPTO_ERROR_LAST  0x1ff

int px_quic_error_from_peer(const ngtcp2_ccerr *ccerr)
{
    if (ccerr->type == NGTCP2_CCERR_TYPE_APPLICATION)
        return px_close_error(ccerr->error_code);
    if (ccerr->error_code >= CRYPTO_ERROR_FIRST && ccerr->error_code <= CRYPTO_ERROR_LAST)
        return PX_ETLS;
    switch (ccerr->error_code) {
    case NGTCP2_NO_ERROR:
    case NGTCP2_APPLICATION_ERROR: /* closed on purpose while TLS was under way */
        return PX_ECLOSED;
    case NGTCP2_CONNECTION_REFUSED:
        return PX_EBUSY;
    case NGTCP2_INTERNAL_ERROR:
        return PX_EIO;
    default:
        return PX_EPROTO;
    }
}
