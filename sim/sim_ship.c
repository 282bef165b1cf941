/* The network between partitions: per (source replica, destination partition) a queue that is delivered in
 * order, with delays. When an append fails or its outcome is unknown, nothing more is sent until everything
 * on its way is resolved; then it goes on from the first message that is not known to be committed. Without
 * that rule a later message could overtake a lost one, whose repeat the destination would then drop as a
 * duplicate (B10). */
#include <stdlib.h>

#include "sim/sim_world.h"

struct queued {
    uint64_t index;
    struct bytes record;
};

struct sim_shipper {
    struct sim_replica *source; /* NULL: reset, only waiting for what is on its way */
    uint32_t destination;
    struct {
        struct queued *items;
        size_t len, cap;
    } queue; /* items[0] is the first not known to be committed */
    size_t sent, inflight;
    struct processor *target; /* where what is in flight went */
    bool failed;              /* send nothing before that is resolved */
    struct env_timer timer;
};

struct sent_message {
    struct log_append_wait wait;
    struct sim_shipper *shipper;
    uint64_t index;
};

static void arm(struct sim_shipper *s, struct sim_world *w, uint64_t max_ms)
{
    if (!env_timer_armed(&s->timer))
        env_timer_arm(&w->env.env, &s->timer, sim_env_below(&w->env, max_ms + 1));
}

static void shipper_free(struct sim_shipper *s)
{
    for (size_t i = 0; i < s->queue.len; i++)
        bytes_unref(&s->queue.items[i].record);
    VEC_FREE(&s->queue);
    free(s);
}

static void acknowledged(struct sim_shipper *s, uint64_t index)
{
    SIM_CHECK(s->source->world, s->queue.len && s->queue.items[0].index == index,
              "acknowledged %lu out of order", (unsigned long)index);
    bytes_unref(&s->queue.items[0].record);
    s->queue.len--;
    s->sent--;
    memmove(s->queue.items, s->queue.items + 1, s->queue.len * sizeof(s->queue.items[0]));
    processor_outbox_shipped(s->source->p, index);
}

static void append_done(struct log_append_wait *wait, enum rc rc, lsn_t lsn)
{
    struct sent_message *m = CONTAINER_OF(wait, struct sent_message, wait);
    struct sim_shipper *s = m->shipper;
    s->inflight--;
    if (!s->source) {
        if (!s->inflight)
            shipper_free(s);
    } else {
        if (rc != RC_OK)
            s->failed = true;
        else
            acknowledged(s, m->index);
        if (s->failed && !s->inflight) {
            s->failed = false;
            s->sent = 0;
            arm(s, s->source->world, 50);
        }
    }
    free(m);
}

static void send_queued(struct env_timer *t)
{
    struct sim_shipper *s = CONTAINER_OF(t, struct sim_shipper, timer);
    struct sim_world *w = s->source->world;
    if (s->failed)
        return;
    struct processor *p = sim_leader(w, s->destination);
    if (s->inflight && p != s->target) {
        s->failed = true;
        return;
    }
    s->target = p;
    while (p && s->sent < s->queue.len) {
        struct sent_message *m = xcalloc(1, sizeof(*m));
        *m = (struct sent_message){
            .wait.done = append_done, .shipper = s, .index = s->queue.items[s->sent].index};
        if (processor_ingest(p, bytes_ref(s->queue.items[s->sent].record), &m->wait) != RC_OK) {
            free(m);
            break;
        }
        s->sent++;
        s->inflight++;
    }
    if (s->sent == s->queue.len)
        return;
    /* Refused. What was sent before must be resolved first: the next try may meet another leader. */
    if (s->inflight)
        s->failed = true;
    else
        arm(s, w, 30);
}

void sim_ship(struct sim_replica *r, uint64_t index, uint64_t partition_key, struct bytes record_take)
{
    uint32_t destination = sim_partition_of(r->world, partition_key);
    struct sim_shipper *s = r->shippers[destination];
    if (!s) {
        s = r->shippers[destination] = xcalloc(1, sizeof(*s));
        s->source = r;
        s->destination = destination;
        env_timer_init(&s->timer, send_queued);
    }
    VEC_PUSH(&s->queue, ((struct queued){index, record_take}));
    arm(s, r->world, 4);
}

void sim_ship_reset(struct sim_replica *r)
{
    for (uint32_t i = 0; i < SIM_MAX_PARTITIONS; i++) {
        struct sim_shipper *s = r->shippers[i];
        if (!s)
            continue;
        r->shippers[i] = NULL;
        env_timer_cancel(&r->world->env.env, &s->timer);
        s->source = NULL;
        if (!s->inflight)
            shipper_free(s);
    }
}
