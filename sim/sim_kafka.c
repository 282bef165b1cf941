/* Kafka in the simulation: subscriptions are created and deleted in a schema that reaches the nodes late, and
 * not even in order over a restart. Two readers of each bring the same records to the leaders, each lane in
 * order; a reader goes on until its own node knows that the subscription is gone, and begins again from the
 * first record whenever it likes. Every record of a subscription that stands has its effect once, and of one
 * that was deleted no record twice; in the end nothing is known of those. */
#include <stdlib.h>

#include "sim/sim_world.h"

#define SUBSCRIPTIONS 3
#define RECORDS       24
#define READERS       2 /* of a subscription, on different nodes as far as there are */
#define BATCH         4

struct lane {
    struct sim_request request;
    struct reader_of *reader;
    uint32_t partition;
    size_t next, sent_to; /* records below are in the log; the batch on its way ends here */
    bool out;
    struct env_timer timer;
};

struct reader_of {
    struct subscription *subscription;
    uint32_t node;
    struct lane lanes[SIM_MAX_PARTITIONS];
};

struct subscription {
    struct sim_world *world;
    struct u128 id;
    uint32_t created, deleted; /* versions of the schema; deleted 0: it stands */
    struct {
        struct invocation_id id;
        uint32_t object;
        uint8_t input[16];
    } records[RECORDS];
    struct reader_of readers[READERS];
};

struct sim_kafka {
    uint32_t version; /* of the newest schema */
    uint32_t seen[SIM_MAX_NODES];
    struct subscription subscriptions[SUBSCRIPTIONS];
    uint64_t spread_at_ms; /* everybody knows the newest since */
};

static bool stands(const struct subscription *s, uint32_t version)
{
    return s->created && s->created <= version && (!s->deleted || version < s->deleted);
}

/* ---- the schema ---- */

void sim_kafka_tell(struct sim_world *w, uint32_t node, struct processor *p)
{
    const struct sim_kafka *k = w->kafka;
    struct u128 ids[SUBSCRIPTIONS];
    size_t n = 0;
    for (size_t i = 0; i < SUBSCRIPTIONS; i++)
        if (stands(&k->subscriptions[i], k->seen[node]))
            ids[n++] = k->subscriptions[i].id;
    processor_set_subscriptions(p, k->seen[node], ids, n);
}

static void see(struct sim_world *w, uint32_t node, uint32_t version)
{
    w->kafka->seen[node] = version;
    for (uint32_t i = 0; i < w->options.partitions; i++) {
        struct sim_replica *r = &w->replicas[node][i];
        if (r->p && !r->closing)
            sim_kafka_tell(w, node, r->p);
    }
}

void sim_kafka_node_starts(struct sim_world *w, uint32_t node)
{
    w->kafka->seen[node] = (uint32_t)sim_env_below(&w->env, w->kafka->version + 1);
}

static void change_schema(struct sim_world *w)
{
    struct sim_kafka *k = w->kafka;
    struct subscription *s = &k->subscriptions[sim_env_below(&w->env, SUBSCRIPTIONS)];
    if (!s->created)
        s->created = ++k->version;
    else if (!s->deleted && w->take_over && sim_env_below(&w->env, 3) == 0)
        s->deleted = ++k->version;
}

void sim_kafka_tick(struct sim_world *w)
{
    struct sim_kafka *k = w->kafka;
    if (sim_chance(w, 10))
        change_schema(w);
    bool spread = true;
    for (uint32_t n = 0; n < w->options.nodes; n++) {
        if (k->seen[n] < k->version && (!w->faulty || sim_chance(w, 10)))
            see(w, n, k->seen[n] + 1 + (uint32_t)sim_env_below(&w->env, k->version - k->seen[n]));
        spread = spread && k->seen[n] == k->version;
    }
    if (!spread || w->faulty)
        k->spread_at_ms = w->env.mono_ms;
}

/* ---- readers ---- */

static struct bytes make_record(const struct subscription *s, size_t i)
{
    struct sim_world *w = s->world;
    struct writer input = WRITER_INIT, record = WRITER_INIT;
    char key[16];
    sim_object_key(s->records[i].object, key);
    input_write_value(&input, slice_make(s->records[i].input, sizeof(s->records[i].input)));
    /* Not retained: nothing but the sequence tells that a record has been there before. */
    struct service_invocation si = {
        .id = s->records[i].id,
        .target = {.kind = TARGET_OBJECT_EXCLUSIVE,
                   .service = SLICE_LIT("Object"),
                   .handler = SLICE_LIT("handle"),
                   .key = slice_cstr(key),
                   .scope = sim_object_scope(w, s->records[i].object)},
        .input = writer_slice(&input),
        .source = SOURCE_SUBSCRIPTION,
        .source_request_id = s->id,
        .created_using = SLICE_LIT("1.7.0"),
    };
    record_begin(&record, 256);
    service_invocation_write(&record, &si);
    struct bytes b = writer_take(&record);
    record_header_put((uint8_t *)b.ptr, &(struct record_header){.version = RECORD_VERSION,
                                                                .kind = CMD_INVOKE,
                                                                .dedup = DEDUP_PRODUCER,
                                                                .key_start = si.id.partition_key,
                                                                .key_end = si.id.partition_key,
                                                                .producer = {9, s->id.lo},
                                                                .seq_lo = i});
    writer_free(&input);
    return b;
}

static bool in_lane(const struct lane *l, size_t i)
{
    const struct subscription *s = l->reader->subscription;
    return sim_partition_of(s->world, s->records[i].id.partition_key) == l->partition;
}

static void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct lane *l = CONTAINER_OF(CONTAINER_OF(rpc, struct sim_request, rpc), struct lane, request);
    struct sim_world *w = l->reader->subscription->world;
    SIM_CHECK(w, reply->status == RPC_OK || (reply->status == RPC_FAILED && reply->rc != RC_INVALID),
              "records of a subscription are answered with status %d: %s", (int)reply->status, reply->detail);
    l->out = false;
    if (reply->status == RPC_OK)
        l->next = l->sent_to;
    if (sim_chance(w, 100))
        l->next = 0; /* another member of the group has begun */
    env_timer_arm(&w->env.env, &l->timer, 1 + sim_env_below(&w->env, 60));
}

static void send(struct env_timer *t)
{
    struct lane *l = CONTAINER_OF(t, struct lane, timer);
    const struct subscription *s = l->reader->subscription;
    struct sim_world *w = s->world;
    struct writer batch = WRITER_INIT;
    size_t n = 0, first = 0, most = 1 + sim_env_below(&w->env, BATCH);
    for (l->sent_to = l->next; l->sent_to < RECORDS && n < most; l->sent_to++) {
        if (!stands(s, w->kafka->seen[l->reader->node]) || !in_lane(l, l->sent_to))
            continue;
        struct bytes record = make_record(s, l->sent_to);
        rpc_ingest_add(&batch, bytes_slice(record));
        bytes_unref(&record);
        first = n++ ? first : l->sent_to;
    }
    if (n > 0) {
        l->request.rpc = (struct partition_rpc){
            .kind = RPC_INGEST,
            .request_id = {sim_env_random(&w->env), sim_env_random(&w->env) | 1},
            .partition_key = s->records[first].id.partition_key,
            .record = writer_take(&batch),
            .reply = on_reply,
        };
        l->out = w->access->submit(w, &l->request);
        if (l->out)
            return;
        bytes_unref(&l->request.rpc.record);
    }
    env_timer_arm(&w->env.env, &l->timer, 20 + sim_env_below(&w->env, 50));
}

/* ---- life ---- */

static void make_subscription(struct sim_world *w, struct subscription *s, size_t number)
{
    s->world = w;
    s->id = (struct u128){sim_env_random(&w->env), number + 1};
    for (size_t i = 0; i < RECORDS; i++) {
        char key[16];
        uint32_t object = (uint32_t)sim_env_below(&w->env, w->options.objects);
        sim_object_key(object, key);
        struct slice scope = sim_object_scope(w, object);
        s->records[i].object = object;
        s->records[i].id = (struct invocation_id){
            .partition_key = partition_key_of_key(scope.ptr ? scope : slice_cstr(key)),
            .uuid = {UINT64_C(1) << 40, number * RECORDS + i + 1}}; /* like none of a client */
        put_u64be(s->records[i].input, sim_env_random(&w->env) | 1);
    }
    for (uint32_t r = 0; r < READERS; r++) {
        s->readers[r].subscription = s;
        s->readers[r].node = (uint32_t)(number + r) % w->options.nodes;
        for (uint32_t p = 0; p < w->options.partitions; p++) {
            struct lane *l = &s->readers[r].lanes[p];
            l->reader = &s->readers[r];
            l->partition = p;
            env_timer_init(&l->timer, send);
            env_timer_arm(&w->env.env, &l->timer, sim_env_below(&w->env, 200));
        }
    }
}

void sim_kafka_start(struct sim_world *w)
{
    w->kafka = xcalloc(1, sizeof(*w->kafka));
    for (size_t i = 0; i < SUBSCRIPTIONS; i++)
        make_subscription(w, &w->kafka->subscriptions[i], i);
}

static bool each_lane(struct sim_world *w, bool (*fn)(struct lane *l))
{
    bool all = true;
    for (size_t i = 0; i < SUBSCRIPTIONS; i++)
        for (uint32_t r = 0; r < READERS; r++)
            for (uint32_t p = 0; p < w->options.partitions; p++)
                all = fn(&w->kafka->subscriptions[i].readers[r].lanes[p]) && all;
    return all;
}

static bool lane_done(struct lane *l)
{
    const struct subscription *s = l->reader->subscription;
    if (l->out)
        return false;
    if (!stands(s, s->world->kafka->version))
        return true;
    size_t i = l->next;
    while (i < RECORDS && !in_lane(l, i))
        i++;
    return i == RECORDS;
}

bool sim_kafka_done(struct sim_world *w)
{
    /* Leaders that were refused a ForgetProducers try again by and by. */
    return w->env.mono_ms >= w->kafka->spread_at_ms + 1000 && each_lane(w, lane_done);
}

static bool lane_stop(struct lane *l)
{
    env_timer_cancel(&l->reader->subscription->world->env.env, &l->timer);
    return true;
}

void sim_kafka_stop(struct sim_world *w)
{
    each_lane(w, lane_stop);
}

void sim_kafka_free(struct sim_world *w)
{
    free(w->kafka);
}

/* ---- what must hold ---- */

void sim_kafka_expect(struct sim_world *w, struct sim_appends *out)
{
    for (size_t i = 0; w->kafka && i < SUBSCRIPTIONS; i++) {
        const struct subscription *s = &w->kafka->subscriptions[i];
        bool maybe = s->deleted;
        for (size_t n = 0; s->created && n < RECORDS; n++)
            VEC_PUSH(out, ((struct sim_append){get_u64be(s->records[n].input), 0, s->records[n].object, true,
                                               maybe, maybe}));
    }
}

static bool deleted(void *ctx, uint64_t owner)
{
    const struct sim_kafka *k = ctx;
    for (size_t i = 0; i < SUBSCRIPTIONS; i++)
        if (producer_tag(k->subscriptions[i].id) == (uint32_t)owner)
            return k->subscriptions[i].deleted;
    return true;
}

void sim_kafka_check(struct sim_world *w, uint32_t partition)
{
    uint64_t owner = 0;
    SIM_CHECK(w, !store_dedup_orphan(processor_store(sim_leader(w, partition)), deleted, w->kafka, &owner),
              "partition %u still knows a subscription that was deleted (%lx)", partition,
              (unsigned long)owner);
}
