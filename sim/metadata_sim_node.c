/* Simulated nodes: boot, crash, wipe; and their disks. See metadata_sim.h. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/metadata_sim.h"

/* ---- disk ---- */

struct sim_store {
    struct raft_store base;
    struct sim_node *node;
};

static void model_reset(struct sim_disk *d)
{
    raft_durable_free(&d->model);
    d->model = (struct raft_durable){0};
}

static void model_fold(struct sim_node *n, struct slice body, bool rewrite)
{
    struct err err = {0};
    if (rewrite)
        model_reset(&n->disk);
    if (raft_durable_fold(&n->disk.model, body, &err))
        sim_fail(n->world, "N%u wrote what cannot be read: %s", n->id, err.msg);
}

/* The first `keep` bytes of the frame reach the disk. */
static void put_frame(struct sim_disk *d, struct slice body, bool rewrite, size_t keep)
{
    struct bytes frame = frame_make(body, d->sequence + 1);
    if (rewrite) {
        writer_reset(&d->content);
        write_raw(&d->content, raft_frame_format.header, FRAME_FILE_HEADER);
    }
    write_raw(&d->content, frame.ptr, MIN(keep, frame.len));
    bytes_unref(&frame);
}

static void write_lands(struct sim_node *n)
{
    struct sim_disk *d = &n->disk;
    put_frame(d, bytes_slice(d->body), d->rewrite, SIZE_MAX);
    d->sequence++;
    model_fold(n, bytes_slice(d->body), d->rewrite);
    bytes_unref(&d->body);
    d->busy = false;
}

static void report(struct sim_node *n, enum rc rc)
{
    static const struct err full = {RC_NO_SPACE, "the simulated disk is full"};
    static const struct err fine = {0};
    sim_enter(n->world, &n->env);
    n->store->done(n->store->ctx, rc, rc ? &full : &fine);
    sim_leave(n->world, n, &n->env);
}

static void write_timer(struct env_timer *t)
{
    struct sim_disk *d = CONTAINER_OF(t, struct sim_disk, timer);
    struct sim_node *n = CONTAINER_OF(d, struct sim_node, disk);
    if (d->reported) { /* a lie comes true */
        write_lands(n);
        return;
    }
    if (n->paused) {
        env_timer_arm(sim_env_get(&n->world->env), t, 20);
        return;
    }
    if (d->full) {
        d->busy = false;
        bytes_unref(&d->body);
        report(n, RC_NO_SPACE);
        return;
    }
    if (n->world->mutation == SIM_MUT_DISK_LIES && sim_chance(n->world, 500)) {
        d->reported = true;
        env_timer_arm(sim_env_get(&n->world->env), t, 50 + sim_below(n->world, 400));
        report(n, RC_OK);
        return;
    }
    write_lands(n);
    report(n, RC_OK);
}

static void store_write(struct raft_store *s, struct bytes body_take, bool rewrite)
{
    struct sim_node *n = CONTAINER_OF(s, struct sim_store, base)->node;
    struct sim_disk *d = &n->disk;
    if (d->busy) {
        ASSERT(d->reported);
        env_timer_cancel(sim_env_get(&n->world->env), &d->timer);
        write_lands(n);
    }
    d->busy = true;
    d->reported = false;
    d->body = body_take;
    d->rewrite = rewrite;
    uint64_t delay = d->slow_ms ? sim_below(n->world, d->slow_ms + 1) : sim_below(n->world, 4);
    env_timer_arm(sim_env_get(&n->world->env), &d->timer, delay);
}

static void store_close(struct raft_store *s)
{
    free(CONTAINER_OF(s, struct sim_store, base));
}

static struct raft_store *open_store(struct sim_node *n)
{
    static const struct raft_store_ops ops = {store_write, store_close};
    struct sim_store *s = xcalloc(1, sizeof(*s));
    s->base.ops = &ops;
    s->node = n;
    return &s->base;
}

/* What was not synced may have reached the disk, in part. */
static void disk_crash(struct sim_node *n)
{
    struct sim_disk *d = &n->disk;
    env_timer_cancel(sim_env_get(&n->world->env), &d->timer);
    if (!d->busy)
        return;
    d->busy = false;
    size_t frame = d->body.len + FRAME_HEAD;
    bool whole = sim_chance(n->world, 300);
    if (d->rewrite && whole)
        put_frame(d, bytes_slice(d->body), true, SIZE_MAX);
    else if (!d->rewrite && !d->full)
        put_frame(d, bytes_slice(d->body), false, whole ? SIZE_MAX : sim_below(n->world, frame));
    bytes_unref(&d->body);
    d->reported = false;
}

struct recovery {
    struct raft_durable *durable;
    enum rc rc;
    struct err err;
};

static void recover_body(void *ctx, struct slice body)
{
    struct recovery *r = ctx;
    if (!r->rc)
        r->rc = raft_durable_fold(r->durable, body, &r->err);
}

/* As frame_file_open would: read, cut the torn tail. */
static void disk_recover(struct sim_node *n, struct raft_durable *out)
{
    struct sim_disk *d = &n->disk;
    struct recovery r = {out, RC_OK, {0}};
    size_t good;
    *out = (struct raft_durable){0};
    enum rc rc = frame_scan(&raft_frame_format, writer_slice(&d->content), recover_body, &r, &good,
                            &d->sequence, &r.err);
    if (rc || r.rc)
        sim_fail(n->world, "the disk of N%u cannot be read after a crash: %s", n->id, r.err.msg);
    if (good == 0) {
        writer_reset(&d->content);
        write_raw(&d->content, raft_frame_format.header, FRAME_FILE_HEADER);
        good = FRAME_FILE_HEADER;
    }
    d->content.len = good;
    /* The model is what is on the disk now. */
    model_reset(d);
    struct recovery m = {&d->model, RC_OK, {0}};
    uint64_t sequence;
    frame_scan(&raft_frame_format, writer_slice(&d->content), recover_body, &m, &good, &sequence, &m.err);
}

/* ---- node ---- */

static void node_send(void *ctx, uint32_t node, struct slice message)
{
    struct sim_node *n = ctx;
    if (!n->alive)
        return;
    sim_check_sent(n, message);
    sim_net_peer(n, node, message);
}

static const char *address_of(void *ctx, uint32_t node)
{
    static const char *const names[] = {"", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"};
    return node < ARRAY_LEN(names) ? names[node] : "";
}

static void node_applied(void *ctx, struct slice key, uint32_t version)
{
    sim_check_applied(ctx, key, version);
}

static void node_committed(void *ctx, uint64_t index, const struct raft_log_entry *e)
{
    sim_check_committed(ctx, index, e);
}

static const struct raft_server_ops server_ops = {
    .send = node_send,
    .address_of = address_of,
    .applied = node_applied,
    .committed = node_committed,
};

static void join_refused(void *ctx, const char *message)
{
    struct sim_node *n = ctx;
    sim_trace(n->world, "N%u refused: %s", n->id, message);
    n->refused = true;
    n->world->n_refused++;
}

static void start_identity(struct sim_node *n)
{
    struct raft_server_status st;
    raft_server_status(n->server, &st);
    if (st.state != RAFT_UNINITIALIZED)
        return;
    if (n->id == 1 && n->world->n_wipes == 0 && n->world->log.len == 0) {
        struct kv_table initial;
        kv_table_init(&initial);
        kv_table_put(&initial, SLICE_LIT("imported"), bytes_static(SLICE_LIT("kept")), 7);
        raft_server_provision(n->server, n->id, FINGERPRINT, &initial);
        kv_table_free(&initial);
        return;
    }
    if (n->world->mutation == SIM_MUT_WIPED_KEEPS_ID && n->last_self.node)
        n->env.wall_base_ms = n->last_self.storage - n->env.mono_ms;
    raft_server_identify(n->server, n->id, FINGERPRINT);
}

void sim_node_boot(struct sim_node *n)
{
    struct world *w = n->world;
    struct raft_durable durable;
    struct err err = {0};
    ASSERT(!n->alive);
    n->life++;
    n->alive = n->started = true;
    n->paused = n->stopping = false;
    memset(n->seen, 0, sizeof(n->seen));
    n->seen_applied = 0;
    disk_recover(n, &durable);
    sim_trace(w, "N%u boots, term %llu, %zu entries behind %llu", n->id, (unsigned long long)durable.term,
              durable.entries.len, (unsigned long long)durable.base_index);
    sim_enter(w, &n->env);
    n->store = open_store(n);
    if (raft_server_new(sim_env_get(&n->env), n->store, &durable, &w->options, &server_ops, n, &n->server,
                        &err))
        sim_fail(w, "N%u does not start: %s", n->id, err.msg);
    struct raft_client_options o;
    raft_client_options_default(&o);
    o.cluster_name = CLUSTER_NAME;
    o.fingerprint = FINGERPRINT;
    n->client = raft_client_new(sim_env_get(&n->env), &o, n->server, &sim_node_client_ops, n);
    const char *addresses[NODES_MAX];
    for (uint32_t i = 0; i < w->n_nodes; i++)
        addresses[i] = address_of(NULL, i + 1);
    raft_client_set_addresses(n->client, addresses, w->n_nodes);
    n->joiner = raft_joiner_new(sim_env_get(&n->env), n->server, n->client, 200,
                                w->options.replace_lost_storage, join_refused, n);
    start_identity(n);
    raft_joiner_start(n->joiner, n->again);
    sim_leave(w, n, &n->env);
}

static void boot_fired(struct env_timer *t)
{
    struct sim_node *n = CONTAINER_OF(t, struct sim_node, boot);
    if (n->alive && n->stopping) { /* has ended in order, or in time */
        sim_node_crash(n);
        env_timer_arm(sim_env_get(&n->world->env), t, sim_below(n->world, 300));
    } else if (!n->alive && !n->gone) {
        sim_node_boot(n);
    }
}

void sim_node_crash(struct sim_node *n)
{
    ASSERT(n->alive);
    sim_trace(n->world, "N%u crashes", n->id);
    n->world->n_crashes++;
    struct raft_server_status st;
    raft_server_status(n->server, &st);
    if (st.self.node)
        n->last_self = st.self;
    n->alive = false;
    disk_crash(n);
    raft_joiner_free(n->joiner);
    kv_close(raft_client_kv(n->client));
    raft_server_free(n->server);
    n->server = NULL;
    n->client = NULL;
    sim_env_free(&n->env);
    heap_init(&n->env.timers);
    list_init(&n->env.tasks);
}

void sim_node_wipe(struct sim_node *n)
{
    struct world *w = n->world;
    ASSERT(!n->alive && w->n_wiped < ARRAY_LEN(w->wiped));
    sim_trace(w, "N%u loses its disk", n->id);
    w->n_wipes++;
    if (n->last_self.node)
        w->wiped[w->n_wiped++] = n->last_self;
    writer_reset(&n->disk.content);
    n->disk.sequence = 0;
    model_reset(&n->disk);
}

void sim_disk_full(struct sim_node *n, bool full)
{
    n->disk.full = full;
}

void sim_node_init(struct world *w, uint32_t index)
{
    struct sim_node *n = &w->nodes[index];
    n->world = w;
    n->index = index;
    n->id = index + 1;
    sim_env_init(&n->env, sim_env_random(&w->env));
    env_timer_init(&n->boot, boot_fired);
    env_timer_init(&n->disk.timer, write_timer);
}

void sim_node_free(struct sim_node *n)
{
    if (n->alive)
        sim_node_crash(n);
    writer_free(&n->disk.content);
    model_reset(&n->disk);
    sim_env_free(&n->env);
}
