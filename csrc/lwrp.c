#include "lwrp.h"

aur_status aur_lwrp_decide(double lufs, double crest_db, aur_decision *out) {
    if (!isfinite(lufs) || !isfinite(crest_db)) return AUR_EINVAL;
    if (!(lufs > AUR_LWRP_LOUD_LUFS))
        *out = (aur_decision){AUR_QUIET, 0.0, 0.0};
    else if (crest_db < AUR_LWRP_CREST_DB)
        *out = (aur_decision){AUR_COMPRESSED_LOUD, aur_clamp((AUR_LWRP_CREST_DB - crest_db) / 10.0, 0.1, 1.0),
                              AUR_LWRP_TRIM_DB};
    else
        *out = (aur_decision){AUR_DYNAMIC_LOUD, 0.0, 0.0};
    return AUR_OK;
}

aur_status aur_lwrp_decide_many(const double *lufs, const double *crest_db, aur_decision *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const aur_status status = aur_lwrp_decide(lufs[i], crest_db[i], &out[i]);
        if (status != AUR_OK) return status;
    }
    return AUR_OK;
}
