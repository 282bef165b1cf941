/* Fuzzes the log filter: every text is accepted or refused with a sentence, and look-ups stay in bounds.
 * Filters that are set stay in memory, so most inputs are only checked. */
#include <stdlib.h>

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = slice_dup_cstr(slice_make(data, size));
    struct err err = {0};
    enum rc rc = size % 64 == 7 ? log_set_filter(text, &err) : log_check_filter(text, &err);
    if (rc)
        ASSERT(err.rc == RC_INVALID && err.msg[0]);
    log_enabled(LOG_DEBUG, text);
    log_enabled(LOG_INFO, "restate_worker::partition");
    free(text);
    return 0;
}
