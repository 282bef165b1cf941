/* Joining the metadata servers: see raft_join.h. */
#include "metadata/raft_join.h"

#include <stdlib.h>

struct raft_joiner {
    struct env *env;
    struct raft_server *server;
    struct raft_client *client;
    uint32_t interval_ms;
    bool replace, again, active, asking, freed;
    void (*refused)(void *ctx, const char *message);
    void *ctx;
    struct env_timer timer;
    struct raft_join join;
};

static void answered(struct raft_join *join, enum rc rc, const char *message)
{
    struct raft_joiner *j = CONTAINER_OF(join, struct raft_joiner, join);
    j->asking = false;
    if (j->freed) {
        free(j);
        return;
    }
    if (rc != RC_CONFLICT)
        return; /* the timer asks again, also after a refusal that may pass: not in the configuration yet */
    j->active = false;
    if (j->refused)
        j->refused(j->ctx, message);
}

static void ask(struct env_timer *t)
{
    struct raft_joiner *j = CONTAINER_OF(t, struct raft_joiner, timer);
    if (!j->active)
        return;
    env_timer_arm(j->env, &j->timer, j->interval_ms);
    struct raft_server_status status;
    raft_server_status(j->server, &status);
    if (status.state == RAFT_MEMBER)
        j->again = false; /* asked for once */
    bool wanted = status.state == RAFT_STANDBY && (!status.removed || j->again);
    if (!wanted || j->asking)
        return;
    j->asking = true;
    j->join = (struct raft_join){status.self, j->replace, answered};
    raft_client_join(j->client, &j->join);
}

struct raft_joiner *raft_joiner_new(struct env *env, struct raft_server *server, struct raft_client *client,
                                    uint32_t interval_ms, bool replace_lost_storage,
                                    void (*refused)(void *ctx, const char *message), void *ctx)
{
    struct raft_joiner *j = xcalloc(1, sizeof(*j));
    j->env = env;
    j->server = server;
    j->client = client;
    j->interval_ms = interval_ms;
    j->replace = replace_lost_storage;
    j->refused = refused;
    j->ctx = ctx;
    env_timer_init(&j->timer, ask);
    return j;
}

void raft_joiner_start(struct raft_joiner *j, bool again)
{
    j->active = true;
    j->again |= again;
    env_timer_arm(j->env, &j->timer, 0);
}

void raft_joiner_free(struct raft_joiner *j)
{
    env_timer_cancel(j->env, &j->timer);
    j->freed = true;
    if (!j->asking)
        free(j);
}
