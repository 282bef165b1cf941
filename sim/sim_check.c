/* What must hold: replicas agree at every LSN; once faults heal, everything accepted completes; every append
 * happened exactly once and in program order; no timer, outbox message or lock is left; a replica that
 * replays the whole log from nothing ends in the same state. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim_world.h"

static void note_hash(struct sim_world *w, uint32_t partition, lsn_t lsn, uint64_t hash)
{
    struct sim_partition *part = &w->partitions[partition];
    while (part->hashes.len < lsn)
        VEC_PUSH(&part->hashes, 0);
    uint64_t *seen = &part->hashes.items[lsn - 1];
    SIM_CHECK(w, *seen == 0 || *seen == hash, "replicas of partition %u differ at LSN %lu", partition,
              (unsigned long)lsn);
    *seen = hash;
}

void sim_check_tick(struct sim_world *w)
{
    for (uint32_t n = 0; n < w->options.nodes; n++) {
        for (uint32_t i = 0; w->node_up[n] && i < w->options.partitions; i++) {
            const struct sim_replica *r = &w->replicas[n][i];
            if (!r->p || r->closing)
                continue;
            const struct partition_vars *vars = store_vars(processor_store(r->p));
            if (vars->applied_lsn)
                note_hash(w, i, vars->applied_lsn, vars->state_hash);
        }
    }
}

static bool count_open(void *ctx, const struct invocation *inv)
{
    if (inv->status != INV_COMPLETED)
        ++*(size_t *)ctx;
    return true;
}

size_t sim_open_invocations(struct processor *p)
{
    size_t open = 0;
    store_scan_invocations(processor_store(p), count_open, &open);
    return open;
}

bool sim_quiescent(struct sim_world *w)
{
    if (w->clients_done < w->n_clients || w->operations_out || !list_empty(&w->outside))
        return false;
    if (w->kafka && !sim_kafka_done(w))
        return false;
    for (uint32_t i = 0; i < w->options.partitions; i++) {
        struct processor *p = sim_leader(w, i);
        if (!p)
            return false;
        struct processor_status st;
        processor_get_status(p, &st);
        if (st.role != PROCESSOR_LEADER || st.applied != st.committed || st.self_inflight ||
            st.outbox_depth || st.waiting_rpcs || sim_open_invocations(p))
            return false;
    }
    return true;
}

static bool print_open(void *ctx, const struct invocation *inv)
{
    if (inv->status == INV_COMPLETED)
        return true;
    if (++*(size_t *)ctx > 10)
        return false;
    char id[INVOCATION_ID_TEXT + 1];
    invocation_id_format(inv->id, id);
    fprintf(stderr, "  %s %.*s %s, journal:", id, SLICE_FMT(inv->si.target.service),
            invocation_status_name(inv->status));
    for (size_t i = 0; i < inv->journal.len && inv->journal.items; i++)
        fprintf(stderr, " %s%s", message_is_notification(inv->journal.items[i].type) ? "+" : "",
                message_type_name(inv->journal.items[i].type));
    fprintf(stderr, "\n");
    return true;
}

void sim_print_open(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->options.partitions; i++) {
        struct processor *p = sim_leader(w, i);
        fprintf(stderr, "partition %u: told to lead: node %d\n", i, w->partitions[i].leader);
        if (!p)
            continue;
        struct processor_status st;
        processor_get_status(p, &st);
        fprintf(stderr,
                "  role %d, applied %lu, committed %lu, in flight %zu bytes, outbox %zu, timers %zu, waiting "
                "%zu\n",
                (int)st.role, (unsigned long)st.applied, (unsigned long)st.committed, st.self_inflight,
                st.outbox_depth, st.timers, st.waiting_rpcs);
        size_t printed = 0;
        store_scan_invocations(processor_store(p), print_open, &printed);
        struct timer_key keys[16];
        size_t n = store_timer_scan(processor_store(p), NULL, keys, ARRAY_LEN(keys));
        for (size_t k = 0; k < n; k++)
            fprintf(stderr, "  timer of kind %d in %ld ms\n", (int)keys[k].kind,
                    (long)(keys[k].wake_up_ms - env_wall_ms(&w->env.env)));
    }
}

/* ---- exactly once, in order ---- */

static int cmp_appends(const void *pa, const void *pb)
{
    const struct sim_append *a = pa, *b = pb;
    if (a->object != b->object)
        return a->object < b->object ? -1 : 1;
    if (a->tag != b->tag)
        return a->tag < b->tag ? -1 : 1;
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

struct object_keys {
    struct sim_world *w;
    struct slice log;
    uint32_t keys;
};

static bool key_of_log(void *ctx, struct slice key, struct bytes value)
{
    struct object_keys *o = ctx;
    char expected[16] = "log";
    if (o->keys > 0)
        sim_extra_key(o->keys - 1, expected);
    struct slice is = o->keys > 0 ? slice_sub(o->log, o->log.len - 16, 16) : o->log;
    SIM_CHECK(o->w, slice_eq_cstr(key, expected) && slice_eq(bytes_slice(value), is),
              "key %u of an object does not belong to its log", o->keys);
    o->keys++;
    return true;
}

static struct bytes object_log(struct sim_world *w, uint32_t object)
{
    char key[16];
    sim_object_key(object, key);
    struct slice k = slice_cstr(key), scope = sim_object_scope(w, object);
    struct object_name name = object_name_make(SLICE_LIT("Object"), k, scope);
    uint64_t partition_key = partition_key_of_key(scope.ptr ? scope : k);
    struct partition_store *s = processor_store(sim_leader(w, sim_partition_of(w, partition_key)));
    struct invocation_id owner;
    SIM_CHECK(w, !store_lock_get(s, name.service, k, &owner), "%s is still locked", key);
    struct bytes log = BYTES_EMPTY;
    store_state_get(s, name.service, k, SLICE_LIT("log"), &log);
    struct object_keys keys = {.w = w, .log = bytes_slice(log)};
    store_state_scan(s, name.service, k, key_of_log, &keys);
    object_name_free(&name);
    SIM_CHECK(w, keys.keys == (log.len > 0) + sim_object_extras(keys.log), "%s has %u keys", key, keys.keys);
    SIM_CHECK(w, log.len % 16 == 0, "the log of %s has %zu bytes", key, log.len);
    return log;
}

static struct sim_append *find_expected(struct sim_appends *e, struct sim_append key)
{
    return bsearch(&key, e->items, e->len, sizeof(key), cmp_appends);
}

static void check_object(struct sim_world *w, uint32_t object, struct sim_appends *expected, size_t *found)
{
    struct bytes log = object_log(w, object);
    for (size_t at = 0; at < log.len; at += 16) {
        struct sim_append a = {
            .tag = get_u64be(log.ptr + at), .seq = get_u64be(log.ptr + at + 8), .object = object};
        struct sim_append *e = find_expected(expected, a);
        SIM_CHECK(w, e, "object %u holds an append nobody made (%lx, %lu)", object, (unsigned long)a.tag,
                  (unsigned long)a.seq);
        for (size_t before = 0; before < at && (!e->maybe || e->once); before += 16) {
            if (get_u64be(log.ptr + before) != a.tag)
                continue;
            struct sim_append b = {.tag = a.tag, .seq = get_u64be(log.ptr + before + 8), .object = object};
            SIM_CHECK(w, b.seq != a.seq, "append (%lx, %lu) to object %u happened twice",
                      (unsigned long)a.tag, (unsigned long)a.seq, object);
            SIM_CHECK(w, b.seq < a.seq || !e->ordered || !find_expected(expected, b)->ordered,
                      "appends %lu and %lu of %lx to object %u are out of order", (unsigned long)b.seq,
                      (unsigned long)a.seq, (unsigned long)a.tag, object);
        }
        *found += !e->maybe;
    }
    bytes_unref(&log);
}

void sim_check_appends(struct sim_world *w)
{
    struct sim_appends expected = {0};
    sim_clients_expect(w, &expected);
    sim_kafka_expect(w, &expected);
    if (expected.len)
        qsort(expected.items, expected.len, sizeof(expected.items[0]), cmp_appends);
    size_t found = 0;
    for (uint32_t i = 0; i < w->options.objects; i++)
        check_object(w, i, &expected, &found);
    size_t certain = 0;
    for (size_t i = 0; i < expected.len; i++)
        certain += !expected.items[i].maybe;
    SIM_CHECK(w, found == certain, "%zu appends were lost", certain - found);
    if (w->options.verbose)
        printf("  %zu appends, each exactly once\n", found);
    VEC_FREE(&expected);
}

/* ---- patched objects: each has the state of one patch, whole ---- */

struct patched {
    struct sim_world *w;
    size_t keys;
    uint64_t number;
};

static bool one_patch(void *ctx, struct slice key, struct bytes value)
{
    struct patched *p = ctx;
    SIM_CHECK(p->w, value.len == 8, "a patched value of %zu bytes", value.len);
    SIM_CHECK(p->w, p->keys == 0 || p->number == get_u64be(value.ptr), "two patches are mixed in one state");
    p->number = get_u64be(value.ptr);
    p->keys++;
    return true;
}

static void check_patched(struct sim_world *w)
{
    for (uint32_t i = 0; i < SIM_PATCHED; i++) {
        char key[16];
        struct patched p = {.w = w};
        struct invocation_id owner;
        sim_patched_key(i, key);
        struct slice k = slice_cstr(key);
        struct partition_store *s =
            processor_store(sim_leader(w, sim_partition_of(w, partition_key_of_key(k))));
        SIM_CHECK(w, !store_lock_get(s, SLICE_LIT("Patched"), k, &owner), "%s is still locked", key);
        store_state_scan(s, SLICE_LIT("Patched"), k, one_patch, &p);
        SIM_CHECK(w, p.keys == 0 || p.keys == 1 + p.number % 3, "%s has %zu keys of patch %lu", key, p.keys,
                  (unsigned long)p.number);
    }
}

/* ---- nothing left, same state from nothing ---- */

static void closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void check_replay(struct sim_world *w, uint32_t partition)
{
    struct sim_partition *part = &w->partitions[partition];
    struct kv_backend *kv = memory_backend_new(&w->env.env);
    struct store_config config = {.partition_id = (uint16_t)partition,
                                  .key_start = part->key_start,
                                  .key_end = part->key_end,
                                  .cache_bytes = 256 << 20,
                                  .flush_dirty_bytes = 1 << 30,
                                  .flush_interval_ms = 1 << 30};
    struct partition_store *s;
    struct err err = {0};
    SIM_CHECK(w, store_open(kv, &w->env.env, &config, &s, &err) == RC_OK, "%s", err.msg);
    size_t n;
    struct sim_limits_state *limits = xcalloc(1, sizeof(*limits));
    const struct bytes *records = sim_log_records(w->logs, partition, &n);
    for (size_t i = 0; i < n; i++) {
        struct apply_result result;
        SIM_CHECK(w, machine_apply(s, i + 1, records[i], NULL, &result, &err) == RC_OK, "%s", err.msg);
        note_hash(w, partition, i + 1, store_vars(s)->state_hash);
        limits->resumed = limits->resumed || result.kind == CMD_RESUME_QUEUE;
        sim_limits_check(w, s, i + 1, limits);
        store_maintain(s);
    }
    free(limits);
    bool done = false;
    store_close(s, true, closed, &done);
    for (int i = 0; i < 100 && !done; i++)
        sim_env_advance(&w->env, 10);
    SIM_CHECK(w, done, "the replayed store does not close");
    memory_backend_free(kv);
}

static void check_leftovers(struct sim_world *w, uint32_t partition)
{
    struct partition_store *s = processor_store(sim_leader(w, partition));
    struct timer_key keys[256], *after = NULL;
    size_t n;
    while ((n = store_timer_scan(s, after, keys, ARRAY_LEN(keys))) > 0) {
        for (size_t i = 0; i < n; i++)
            SIM_CHECK(w, keys[i].kind == TIMER_CLEANUP, "a timer of kind %d is left", (int)keys[i].kind);
        after = &keys[n - 1];
    }
}

void sim_check_final(struct sim_world *w)
{
    sim_check_tick(w);
    sim_check_appends(w);
    for (uint32_t i = 0; i < w->options.partitions; i++) {
        check_leftovers(w, i);
        sim_kafka_check(w, i);
        check_replay(w, i);
    }
    check_patched(w);
}
