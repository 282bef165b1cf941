/* Reading and writing keys of the metadata store through any node: see ctl.h (spec/restatectl.md §4.6, §6.5).
 */
#include <stdlib.h>

#include "ctl/ctl.h"

#define PROXY           "/restate.metadata_proxy_svc.MetadataProxySvc/"
#define EDIT_TRIES      10
#define EDIT_WAIT_MS    100.0
#define EDIT_WAIT_MAX   1000.0
#define EDIT_WAIT_GROWS 1.4

bool metadata_get(struct tool *t, const char *key, struct slice *stored, uint32_t *version, bool *present,
                  struct answer *answer)
{
    struct writer request = WRITER_INIT;
    uint64_t v = 0;
    pb_put_text(&request, 1, key);
    *answer = ctl_call(ctl_of(t), 0, PROXY "Get", &request);
    struct slice value = msg_bytes(answer->reply, 1);
    *present = answer->good && msg_has(answer->reply, 1);
    msg_wrapped(value, 1, &v);
    *version = (uint32_t)v;
    *stored = msg_bytes(value, 2);
    return answer->good;
}

struct answer metadata_put(struct tool *t, const char *key, struct slice value, uint32_t version,
                           uint32_t precondition_version, bool precondition_absent)
{
    struct writer request = WRITER_INIT, versioned = WRITER_INIT, precondition = WRITER_INIT;
    pb_put_wrapped(&versioned, 1, version);
    pb_write_bytes_always(&versioned, 2, value);
    pb_write_u64(&precondition, 1, precondition_absent ? KV_DOES_NOT_EXIST : KV_MATCHES_VERSION);
    if (!precondition_absent)
        pb_put_wrapped(&precondition, 2, precondition_version);
    pb_put_text(&request, 1, key);
    pb_put_message(&request, 2, &versioned);
    pb_put_message(&request, 3, &precondition);
    return ctl_call(ctl_of(t), 0, PROXY "Put", &request);
}

enum rc metadata_edit_run(struct tool *t, const char *key, struct metadata_edit *e, const char **error)
{
    double wait = EDIT_WAIT_MS;
    e->t = t;
    for (unsigned tries = 1;; tries++) {
        struct slice stored;
        uint32_t old_version, new_version = 0;
        bool present;
        struct answer a;
        struct err err = {0};
        struct writer w = WRITER_INIT;
        if (!metadata_get(t, key, &stored, &old_version, &present, &a)) {
            *error = a.error;
            return RC_UNAVAILABLE;
        }
        enum rc rc = e->change(e, present ? &stored : NULL, &w, &new_version, &err);
        if (rc != RC_OK) {
            writer_free(&w);
            *error = tool_format(t, "%s", err.msg);
            return rc;
        }
        a = metadata_put(t, key, writer_slice(&w), new_version, old_version, !present);
        writer_free(&w);
        if (a.good)
            return RC_OK;
        *error = a.error;
        if (a.status.code != GRPC_FAILED_PRECONDITION || tries == EDIT_TRIES)
            return RC_CONFLICT;
        loop_run_for(ctl_of(t)->loop, (uint64_t)wait);
        wait = MIN(wait * EDIT_WAIT_GROWS, EDIT_WAIT_MAX);
    }
}
