/* The store against itself: one store flushes, evicts, crashes and replays at random, the other never writes
 * anything and keeps everything in memory. After the same records both must have the same content and the
 * same state hash, and every read made while applying must have had the same answer.
 *
 * A record is a seed: what it does follows from the seed and from what it reads in the store. */
#include "partition/rocks_internal.h"
#include "unit/partition/scan_lines.h"

enum { IDS = 40, OBJECTS = 6, STATE_KEYS = 14, PROMISE_KEYS = 4 };

static const struct {
    struct slice service, key;
} objects[OBJECTS] = {
    {{(const uint8_t *)"a", 1}, {(const uint8_t *)"", 0}},
    {{(const uint8_t *)"a", 1}, {(const uint8_t *)"\0", 1}},
    {{(const uint8_t *)"a", 1}, {(const uint8_t *)"\0b", 2}},
    {{(const uint8_t *)"ab", 2}, {(const uint8_t *)"x", 1}},
    {{(const uint8_t *)"a", 1}, {(const uint8_t *)"bx", 2}},
    {{(const uint8_t *)"w\xff", 2}, {(const uint8_t *)"k", 1}},
};

struct actor {
    struct partition_store *s;
    uint64_t rng[4];
    uint64_t now_ms;
    uint64_t seen; /* hash over every answer */
};

static uint64_t rnd(struct actor *a, uint64_t n)
{
    return sim_rng_next(a->rng) % n;
}

static void saw(struct actor *a, uint64_t v)
{
    a->seen = hash64_combine(a->seen, v);
}

static void saw_bytes(struct actor *a, struct slice v)
{
    saw(a, hash64(v));
    saw(a, v.len);
}

static size_t some_size(struct actor *a)
{
    switch (rnd(a, 12)) {
    case 0:
        return 0;
    case 1:
        return 5000 + rnd(a, 3000);
    case 2:
        return rnd(a, 6) ? 4096 : 60000;
    case 3:
        return 1000 + rnd(a, 2500);
    default:
        return rnd(a, 80);
    }
}

static struct bytes some_bytes(struct actor *a)
{
    size_t n = some_size(a);
    return sf_fill(n, rnd(a, 1000));
}

/* ---- invocations ---- */

static void create(struct actor *a, struct invocation_id id)
{
    static const enum target_kind kinds[] = {TARGET_SERVICE, TARGET_OBJECT_EXCLUSIVE, TARGET_OBJECT_SHARED,
                                             TARGET_WORKFLOW_RUN};
    enum target_kind kind = kinds[rnd(a, 4)];
    size_t o = rnd(a, OBJECTS);
    /* service names of keyed targets are those of the objects, so that journals can share state values */
    struct slice service = kind == TARGET_SERVICE ? SLICE_LIT("svc") : objects[o % 5].service;
    struct bytes input = sf_input(some_bytes(a));
    struct sf_spec spec = {
        .target = {kind, service, SLICE_LIT("h"), kind == TARGET_SERVICE ? SLICE_EMPTY : objects[o % 5].key,
                   SLICE_EMPTY},
        .completion_retention_ms = rnd(a, 40000),
        .input = bytes_slice(input),
    };
    if (kind != TARGET_SERVICE && !spec.target.key.ptr)
        spec.target.key = SLICE_LIT("");
    spec.journal_retention_ms = rnd(a, spec.completion_retention_ms + 1);
    struct invocation *inv = sf_create(a->s, id, &spec, a->now_ms);
    bytes_unref(&input);
    static const enum invocation_status first[] = {INV_SCHEDULED, INV_INBOXED, INV_INVOKED, INV_INVOKED};
    inv->status = first[rnd(a, 4)];
    inv->inbox_seq = rnd(a, 100);
    if (rnd(a, 3) == 0)
        inv->queue = (struct queue_history){.attempts = (uint32_t)rnd(a, 1000),
                                            .errors = (uint32_t)rnd(a, 3),
                                            .pauses = (uint32_t)rnd(a, 3),
                                            .suspensions = (uint32_t)rnd(a, 3),
                                            .first_attempt_at = rnd(a, 3),
                                            .latest_attempt_at = a->now_ms,
                                            .moved_at = a->now_ms + 1,
                                            .backing_off = rnd(a, 2)};
    for (uint64_t n = rnd(a, 3); n > 0; n--) {
        struct sink k = {.kind = SINK_INVOCATION, .caller = sf_id(n), .completion_id = (uint32_t)rnd(a, 9)};
        VEC_PUSH(&inv->sinks, k);
    }
    store_invocation_changed(a->s, inv);
}

/* {1: key?, field: {1: content}} */
static struct bytes value_message(uint32_t field, struct slice content)
{
    struct writer w = WRITER_INIT;
    pb_write_bytes(&w, 1, SLICE_LIT("key"));
    pb_write_len_header(&w, field, pb_len_field_size(1, content.len));
    pb_write_bytes_always(&w, 1, content);
    pb_write_bytes(&w, 12, SLICE_LIT("label"));
    return writer_take(&w);
}

static struct slice some_state_key(struct actor *a)
{
    static const char names[STATE_KEYS][8] = {"",  "a",  "b",   "bb",   "c", "\1\2", "zz",
                                              "d", "e1", "e22", "e333", "f", "g",    "h"};
    return slice_cstr(names[rnd(a, STATE_KEYS)]);
}

static void append_entry(struct actor *a, struct invocation *inv)
{
    struct journal_entry e = {.appended_at_ms = a->now_ms};
    struct slice service = inv->si.target.service, key = inv->si.target.key;
    struct bytes value;
    switch (rnd(a, 6)) {
    case 0: /* state is set: the value is a part of the record */
        value = some_bytes(a);
        e.type = MSG_SET_STATE;
        e.payload = value_message(3, bytes_slice(value));
        if (target_is_keyed(inv->si.target.kind))
            store_state_put(a->s, service, key, some_state_key(a), bytes_ref(value));
        bytes_unref(&value);
        break;
    case 1: /* state is read: the value is a copy */
        e.type = rnd(a, 2) ? MSG_GET_EAGER_STATE : MSG_N_GET_LAZY_STATE;
        e.completion_id = (uint32_t)rnd(a, 20) + 1;
        if (target_is_keyed(inv->si.target.kind) &&
            store_state_get(a->s, service, key, some_state_key(a), &value)) {
            e.result = OUTCOME_SUCCESS;
            e.payload = value_message(14, bytes_slice(value));
            bytes_unref(&value);
        }
        break;
    case 2:
        e.type = MSG_CALL;
        e.completion_id = (uint32_t)rnd(a, 20) + 1;
        e.completion_id2 = (uint32_t)rnd(a, 20) + 1;
        e.has_callee = true;
        e.callee = sf_id(rnd(a, IDS));
        e.payload = some_bytes(a);
        break;
    case 3:
        e.type = MSG_N_SIGNAL;
        e.notification_kind = NOTIFICATION_NAMED_SIGNAL;
        e.payload = bytes_copy(SLICE_LIT("<<signal>>"));
        e.signal_name = slice_sub(bytes_slice(e.payload), 2, 1 + rnd(a, 6));
        break;
    case 4:
        e.type = MSG_N_CALL;
        e.completion_id = (uint32_t)rnd(a, 20) + 1;
        e.result = OUTCOME_FAILURE;
        e.payload = some_bytes(a);
        break;
    default:
        e.type = MSG_RUN;
        e.completion_id = (uint32_t)rnd(a, 20) + 1;
        e.payload = some_bytes(a);
    }
    inv->commands += message_is_command(e.type);
    saw(a, store_journal_append(a->s, inv, &e));
    store_invocation_changed(a->s, inv);
}

static void look_up(struct actor *a, struct invocation *inv)
{
    saw(a, (uint64_t)store_find_command(a->s, inv, (uint32_t)rnd(a, 22)));
    struct notification_id c = {NOTIFICATION_COMPLETION, (uint32_t)rnd(a, 22), SLICE_EMPTY};
    saw(a, (uint64_t)store_find_notification(a->s, inv, &c));
    struct notification_id n = {NOTIFICATION_NAMED_SIGNAL, 0,
                                slice_sub(SLICE_LIT("signal"), 0, 1 + rnd(a, 6))};
    saw(a, (uint64_t)store_find_notification(a->s, inv, &n));
}

static void complete(struct actor *a, struct invocation *inv)
{
    struct bytes value = some_bytes(a);
    if (rnd(a, 3) == 0) { /* the result is a part of the output entry */
        struct journal_entry e = {.type = MSG_OUTPUT, .payload = value_message(14, bytes_slice(value))};
        size_t at = e.payload.len - 7 - value.len; /* before the label */
        struct bytes part = bytes_part(e.payload, slice_sub(bytes_slice(e.payload), at, value.len));
        store_journal_append(a->s, inv, &e);
        inv->commands++;
        bytes_unref(&value);
        value = part;
    }
    bytes_unref(&inv->awaiting.encoded);
    sf_complete(a->s, inv, value, a->now_ms);
    if (rnd(a, 4) == 0)
        store_journal_purge(a->s, inv);
}

static void change_live(struct actor *a, struct invocation *inv)
{
    switch (rnd(a, 9)) {
    case 0:
        complete(a, inv);
        return;
    case 1:
        store_invocation_delete(a->s, inv);
        return;
    case 2: {
        static const enum invocation_status any[] = {INV_INVOKED, INV_SUSPENDED, INV_PAUSED};
        inv->status = any[rnd(a, 3)];
        inv->at.modified_at = a->now_ms;
        bytes_unref(&inv->awaiting.encoded);
        if (inv->status == INV_SUSPENDED) {
            inv->awaiting.is_tree = rnd(a, 2);
            inv->awaiting.encoded = sf_fill(20, rnd(a, 9));
        }
        inv->pinned = true;
        inv->deployment_id.lo = rnd(a, 9);
        inv->protocol_version = 5;
        store_invocation_changed(a->s, inv);
        return;
    }
    case 3: {
        struct journal_event e = {a->now_ms, 3, (uint32_t)inv->journal.len - 1, sf_fill(rnd(a, 200), 1)};
        store_event_append(a->s, inv, &e);
        store_invocation_changed(a->s, inv);
        return;
    }
    case 4:
        for (uint64_t n = rnd(a, 4) ? 3 : 60; n > 0; n--)
            append_entry(a, inv);
        return;
    default:
        append_entry(a, inv);
        look_up(a, inv);
    }
}

static void op_invocation(struct actor *a)
{
    struct invocation_id id = sf_id(rnd(a, IDS));
    saw(a, store_invocation_exists(a->s, id));
    struct invocation *inv = store_invocation_get(a->s, id);
    if (!inv) {
        create(a, id);
    } else if (inv->status != INV_COMPLETED) {
        change_live(a, inv);
    } else {
        saw_bytes(a, inv->result.value);
        saw(a, inv->journal_purged);
        uint64_t what = rnd(a, 12);
        if (what == 0)
            store_invocation_delete(a->s, inv);
        else if (what == 1 && !inv->journal_purged)
            store_journal_purge(a->s, inv);
    }
}

/* ---- objects ---- */

static void op_object(struct actor *a)
{
    size_t o = rnd(a, OBJECTS);
    struct slice service = objects[o].service, key = objects[o].key;
    struct invocation_id owner;
    struct inbox_entry e = {0};
    switch (rnd(a, 5)) {
    case 0:
        if (store_lock_get(a->s, service, key, &owner)) {
            saw(a, hash_id(owner));
            store_lock_clear(a->s, service, key);
        } else {
            store_lock_set(a->s, service, key, sf_id(rnd(a, IDS)));
        }
        return;
    case 1:
        for (uint64_t n = rnd(a, 20) ? 2 : 400; n > 0; n--) {
            e = (struct inbox_entry){.seq = store_vars(a->s)->inbox_seq++, .kind = rnd(a, 2)};
            if (e.kind == INBOX_STATE_PATCH)
                e.patch = sf_fill(rnd(a, 100), n);
            else
                e.id = sf_id(rnd(a, IDS));
            store_inbox_push(a->s, service, key, &e);
        }
        return;
    case 2:
        saw(a, store_inbox_remove(a->s, service, key, rnd(a, store_vars(a->s)->inbox_seq + 1)));
        return;
    default:
        for (uint64_t n = rnd(a, 5); n > 0; n--) {
            bool popped = store_inbox_pop(a->s, service, key, &e);
            saw(a, popped);
            if (!popped)
                break;
            saw(a, e.seq);
            saw(a, e.kind == INBOX_INVOCATION ? hash_id(e.id) : hash64(bytes_slice(e.patch)));
            bytes_unref(&e.patch);
        }
    }
}

static bool see_state(void *ctx, struct slice k, struct bytes v)
{
    saw_bytes(ctx, k);
    saw_bytes(ctx, bytes_slice(v));
    return true;
}

static void op_state(struct actor *a)
{
    size_t o = rnd(a, OBJECTS);
    struct slice service = objects[o].service, key = objects[o].key;
    struct bytes v;
    char name[16];
    switch (rnd(a, 10)) {
    case 0:
        store_state_clear(a->s, service, key, some_state_key(a));
        return;
    case 1:
        if (rnd(a, 4) == 0)
            store_state_clear_all(a->s, service, key);
        for (uint64_t n = rnd(a, 3) ? 0 : 60; n > 0; n--) {
            snprintf(name, sizeof(name), "bulk%03u", (unsigned)rnd(a, 130));
            store_state_clear(a->s, service, key, slice_cstr(name));
        }
        return;
    case 2: /* enough keys and bytes to leave the paths for small state */
        for (uint64_t n = rnd(a, 12) ? 0 : 120; n > 0; n--) {
            snprintf(name, sizeof(name), "bulk%03u", (unsigned)n);
            store_state_put(a->s, service, key, slice_cstr(name), sf_fill(3000 + rnd(a, 500), n));
        }
        return;
    case 3:
        store_state_scan(a->s, service, key, see_state, a);
        return;
    case 4:
    case 5:
        snprintf(name, sizeof(name), "bulk%03u", (unsigned)rnd(a, 130));
        if (store_state_get(a->s, service, key, slice_cstr(name), &v)) {
            saw_bytes(a, bytes_slice(v));
            bytes_unref(&v);
            if (rnd(a, 2))
                store_state_clear(a->s, service, key, slice_cstr(name));
        }
        return;
    case 6:
        if (store_state_get(a->s, service, key, some_state_key(a), &v)) {
            saw_bytes(a, bytes_slice(v));
            bytes_unref(&v);
        }
        return;
    default:
        store_state_put(a->s, service, key, some_state_key(a), some_bytes(a));
    }
}

static void op_promise(struct actor *a)
{
    size_t o = rnd(a, OBJECTS);
    struct slice service = objects[o].service, key = objects[o].key;
    static const char names[PROMISE_KEYS][4] = {"", "p", "q", "qq"};
    struct slice name = slice_cstr(names[rnd(a, PROMISE_KEYS)]);
    struct promise p;
    bool there = store_promise_get(a->s, service, key, name, &p);
    saw(a, there);
    if (there) {
        saw_bytes(a, p.outcome.value);
        saw(a, p.n_listeners);
        for (size_t i = 0; i < p.n_listeners; i++)
            saw(a, p.listeners[i].completion_id + hash_id(p.listeners[i].id));
    }
    if (there && p.outcome.kind != OUTCOME_NONE) {
        if (rnd(a, 8) == 0)
            store_promise_clear_all(a->s, service, key);
    } else if (rnd(a, 3)) {
        store_promise_listen(a->s, service, key, name,
                             (struct promise_listener){sf_id(rnd(a, IDS)), (uint32_t)rnd(a, 9)});
    } else {
        struct bytes v = some_bytes(a);
        struct outcome out = {OUTCOME_SUCCESS, bytes_slice(v), SLICE_EMPTY};
        store_promise_complete(a->s, service, key, name, &out);
        bytes_unref(&v);
    }
}

/* ---- the rest ---- */

static void op_timer(struct actor *a)
{
    struct timer_key t[8];
    if (rnd(a, 2)) {
        struct timer_key k = {a->now_ms + rnd(a, 50), (enum timer_kind)rnd(a, 3), sf_id(rnd(a, IDS)),
                              (uint32_t)rnd(a, 3)};
        store_timer_put(a->s, &k);
        if (rnd(a, 4) == 0)
            saw(a, store_timer_delete(a->s, &k));
        return;
    }
    size_t n = store_timer_scan(a->s, NULL, t, 1 + rnd(a, 8));
    for (size_t i = 0; i < n; i++)
        saw(a, t[i].wake_up_ms + t[i].index + hash_id(t[i].id));
    if (n)
        saw(a, store_timer_delete(a->s, &t[rnd(a, n)]));
    struct timer_key k = {a->now_ms, TIMER_SLEEP, sf_id(rnd(a, IDS)), 1};
    saw(a, store_timer_delete(a->s, &k));
    n = store_timer_scan(a->s, &k, t, 3);
    for (size_t i = 0; i < n; i++)
        saw(a, t[i].wake_up_ms);
}

static void op_outbox(struct actor *a)
{
    struct partition_vars *v = store_vars(a->s);
    if (rnd(a, 3)) {
        saw(a, store_outbox_push(a->s, rnd(a, 100), CMD_INVOKE, some_bytes(a)));
    } else if (v->outbox_head < v->outbox_seq) {
        uint64_t depth = v->outbox_seq - v->outbox_head;
        const struct outbox_message *m = store_outbox_get(a->s, v->outbox_head + rnd(a, depth));
        saw_bytes(a, bytes_slice(m->record));
        saw(a, m->partition_key);
        if (rnd(a, 3))
            store_outbox_truncate(a->s, v->outbox_head + rnd(a, MIN(depth, 5)));
        else if (rnd(a, 10) == 0)
            store_outbox_truncate(a->s, v->outbox_seq + 5);
    }
}

/* A few rows that come and go all the time, so that they change while their deletion is being written. */
static void op_hot(struct actor *a)
{
    struct slice service = objects[3].service, key = objects[3].key, hot = SLICE_LIT("hot");
    struct bytes v;
    struct promise p;
    struct invocation *inv = store_invocation_get(a->s, sf_id(IDS));
    struct timer_key t = {1, TIMER_SLEEP, sf_id(1), 1};
    struct outcome o = {OUTCOME_VOID, SLICE_EMPTY, SLICE_EMPTY};
    switch (rnd(a, 4)) {
    case 0:
        saw(a, inv != NULL);
        if (inv)
            store_invocation_delete(a->s, inv);
        else
            create(a, sf_id(IDS));
        return;
    case 1:
        if (store_state_get(a->s, service, key, hot, &v)) {
            saw_bytes(a, bytes_slice(v));
            bytes_unref(&v);
            store_state_clear(a->s, service, key, hot);
        } else {
            store_state_put(a->s, service, key, hot, some_bytes(a));
        }
        return;
    case 2:
        if (store_timer_delete(a->s, &t))
            saw(a, 1);
        else
            store_timer_put(a->s, &t);
        return;
    default:
        if (store_promise_get(a->s, service, key, hot, &p))
            store_promise_clear_all(a->s, service, key);
        else
            store_promise_complete(a->s, service, key, hot, &o);
    }
}

static void op_misc(struct actor *a)
{
    struct record_header h = {.dedup = (uint8_t)(1 + rnd(a, 3)), .producer = {0, rnd(a, 5)}};
    h.seq_hi = rnd(a, 20);
    h.seq_lo = rnd(a, 1000);
    if (h.dedup == DEDUP_PRODUCER)
        h.seq_hi = producer_owner((uint32_t)rnd(a, 3), (struct u128){0, rnd(a, 4)});
    saw(a, store_dedup_check(a->s, &h));
    if (rnd(a, 20) == 0)
        saw(a, store_dedup_forget(a->s, producer_tag((struct u128){0, rnd(a, 4)}), (uint32_t)rnd(a, 3)));
    store_vars(a->s)->features = rnd(a, 16);
}

static void apply(struct actor *a, lsn_t lsn, uint64_t seed, uint64_t now_ms)
{
    sim_rng_seed(a->rng, seed);
    a->now_ms = now_ms;
    a->seen = 0;
    store_apply_begin(a->s, lsn, now_ms);
    for (uint64_t n = 1 + rnd(a, 3); n > 0; n--) {
        switch (rnd(a, 20)) {
        case 16 ... 19:
            op_hot(a);
            break;
        case 0 ... 6:
            op_invocation(a);
            break;
        case 7 ... 8:
            op_object(a);
            break;
        case 9 ... 11:
            op_state(a);
            break;
        case 12:
            op_promise(a);
            break;
        case 13:
            op_timer(a);
            break;
        case 14:
            op_outbox(a);
            break;
        default:
            op_misc(a);
        }
    }
    store_apply_end(a->s);
}

/* ---- comparing ---- */

static void dump_entries(struct partition_store *s, struct writer *w, const struct invocation *inv)
{
    store_journal_load(s, (struct invocation *)inv);
    for (size_t i = 0; i < inv->journal.len; i++) {
        const struct journal_entry *e = &inv->journal.items[i];
        write_fmt(w, "  %x r%u k%u c%u,%u @%llu callee %llx:", e->type, e->result, e->notification_kind,
                  e->completion_id, e->completion_id2, (unsigned long long)e->appended_at_ms,
                  (unsigned long long)(e->has_callee ? hash_id(e->callee) : 0));
        write_fmt(w, "%zu %llx '%.*s'\n", e->payload.len, (unsigned long long)hash64(bytes_slice(e->payload)),
                  SLICE_FMT(e->signal_name));
    }
    for (size_t i = 0; i < inv->events.len; i++)
        write_fmt(w, "  event %llu %llx\n", (unsigned long long)inv->events.items[i].at_ms,
                  (unsigned long long)hash64(bytes_slice(inv->events.items[i].json)));
}

struct dump {
    struct partition_store *s;
    struct writer w;
};

static bool dump_invocation(void *ctx, const struct invocation *inv)
{
    struct dump *d = ctx;
    write_fmt(&d->w, "%llx %d origin %zu %llx sinks %zu inbox %llu awaiting %d %llx pin %d %llu %u",
              (unsigned long long)hash_id(inv->id), inv->status, inv->origin.len,
              (unsigned long long)hash64(bytes_slice(inv->origin)), inv->sinks.len,
              (unsigned long long)inv->inbox_seq, inv->awaiting.is_tree,
              (unsigned long long)hash64(bytes_slice(inv->awaiting.encoded)), inv->pinned,
              (unsigned long long)inv->deployment_id.lo, inv->protocol_version);
    write_fmt(&d->w, " commands %u purged %d result %d %zu %llx at %llu %llu %llu\n", inv->commands,
              inv->journal_purged, inv->result.kind, inv->result.value.len,
              (unsigned long long)hash64(inv->result.value), (unsigned long long)inv->at.created_at,
              (unsigned long long)inv->at.modified_at, (unsigned long long)inv->at.completed_at);
    const struct queue_history *q = &inv->queue;
    write_fmt(&d->w, " queue %u %u %u %u %llu %llu %llu %d\n", q->attempts, q->errors, q->pauses,
              q->suspensions, (unsigned long long)q->first_attempt_at,
              (unsigned long long)q->latest_attempt_at, (unsigned long long)q->moved_at, q->backing_off);
    dump_entries(d->s, &d->w, inv);
    return true;
}

static void dump_invoked(void *ctx, struct invocation *inv)
{
    write_fmt(&((struct dump *)ctx)->w, "invoked %llx\n", (unsigned long long)hash_id(inv->id));
}

static bool dump_state(void *ctx, struct slice k, struct bytes v)
{
    write_fmt(&((struct dump *)ctx)->w, "  state %llx %zu %llx\n", (unsigned long long)hash64(k), v.len,
              (unsigned long long)hash64(bytes_slice(v)));
    return true;
}

static struct writer dump(struct partition_store *s)
{
    struct dump d = {s, WRITER_INIT};
    store_scan_invocations(s, dump_invocation, &d);
    store_scan_invoked(s, dump_invoked, &d);
    for (size_t i = 0; i < OBJECTS; i++) {
        struct object *o = object_get(s, objects[i].service, objects[i].key);
        write_fmt(&d.w, "object %zu lock %d inbox %llu state %llu %llu promises %llu\n", i, o->header.locked,
                  (unsigned long long)o->header.inbox, (unsigned long long)o->header.state,
                  (unsigned long long)o->header.state_bytes, (unsigned long long)o->header.promises);
        store_state_scan(s, objects[i].service, objects[i].key, dump_state, &d);
        char version[44];
        store_state_version(s, objects[i].service, objects[i].key, version);
        write_fmt(&d.w, "  version %s\n", version);
    }
    struct timer_key timers[2000];
    size_t n = store_timer_scan(s, NULL, timers, ARRAY_LEN(timers));
    for (size_t i = 0; i < n; i++)
        write_fmt(&d.w, "timer %llu %d %llx %u\n", (unsigned long long)timers[i].wake_up_ms, timers[i].kind,
                  (unsigned long long)hash_id(timers[i].id), timers[i].index);
    const struct partition_vars *v = store_vars(s);
    for (uint64_t i = v->outbox_head; i < v->outbox_seq; i++) {
        const struct outbox_message *m = store_outbox_get(s, i);
        assert_non_null(m);
        write_fmt(&d.w, "outbox %llu %llx\n", (unsigned long long)i,
                  (unsigned long long)hash64(bytes_slice(m->record)));
    }
    struct store_stats stats;
    store_get_stats(s, &stats);
    write_fmt(&d.w, "vars %llu %llu %llu %llu hash %llx live %zu", (unsigned long long)v->applied_lsn,
              (unsigned long long)v->applied_time_ms, (unsigned long long)v->inbox_seq,
              (unsigned long long)v->outbox_seq, (unsigned long long)v->state_hash, stats.live_invocations);
    write_u8(&d.w, 0);
    return d.w;
}

static void compare(struct partition_store *a, struct partition_store *b)
{
    struct writer x = dump(a), y = dump(b);
    assert_null(store_failure(a));
    assert_null(store_failure(b));
    assert_string_equal((char *)x.buf->data, (char *)y.buf->data);
    writer_free(&x);
    writer_free(&y);
}

static size_t count_table(struct store_fixture *f, enum store_table table)
{
    struct writer from = WRITER_INIT, to = WRITER_INIT;
    key_begin(&from, f->config.partition_id, table);
    key_begin(&to, f->config.partition_id, table + 1);
    struct kv_iter *it = f->kv->ops->iter_new(f->kv, writer_slice(&from), writer_slice(&to));
    struct slice k, v;
    size_t n = 0;
    while (f->kv->ops->iter_next(it, &k, &v))
        n++;
    f->kv->ops->iter_free(it);
    writer_free(&from);
    writer_free(&to);
    return n;
}

/* After everything was deleted or has expired, no row is left but packed invocations for a compaction to
 * drop. */
static void check_nothing_is_left(struct store_fixture *f, uint64_t now)
{
    f->now_ms = now;
    sf_begin(f);
    for (uint64_t i = 0; i <= IDS; i++) {
        struct invocation *inv = store_invocation_get(f->s, sf_id(i));
        if (inv)
            store_invocation_delete(f->s, inv);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        struct inbox_entry e;
        while (store_inbox_pop(f->s, objects[i].service, objects[i].key, &e))
            bytes_unref(&e.patch);
        store_lock_clear(f->s, objects[i].service, objects[i].key);
        store_state_clear_all(f->s, objects[i].service, objects[i].key);
        store_promise_clear_all(f->s, objects[i].service, objects[i].key);
    }
    struct timer_key t;
    while (store_timer_scan(f->s, NULL, &t, 1))
        assert_true(store_timer_delete(f->s, &t));
    store_outbox_truncate(f->s, UINT64_MAX);
    sf_end(f);
    sf_flush(f);
    for (int i = 0; i < 10; i++) { /* expired blobs go with later batches */
        sf_begin(f);
        sf_end(f);
        sf_flush(f);
    }
    static const enum store_table tables[] = {TABLE_LIVE,  TABLE_JOURNAL,   TABLE_OBJECT,     TABLE_INBOX,
                                              TABLE_STATE, TABLE_PROMISE,   TABLE_TIMER,      TABLE_OUTBOX,
                                              TABLE_BLOB,  TABLE_BLOB_META, TABLE_BLOB_EXPIRY};
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        if (count_table(f, tables[i]) != 0)
            fail_msg("table %d has rows left", (int)tables[i]);
    }
    assert_int_equal(count_table(f, TABLE_VARS), 1);
}

/* ---- scans: what they show is the moment of their opening, whatever happens before they are read ---- */

struct pending_scan {
    enum scan_kind kind;
    struct store_scan *scan;
    struct lines expected;
};

static void scan_open(struct pending_scan *p, struct partition_store *s, struct partition_store *plain,
                      uint64_t rng[4])
{
    size_t o = sim_rng_next(rng) % OBJECTS;
    bool narrow = sim_rng_next(rng) % 3 == 0;
    p->kind = (enum scan_kind)(sim_rng_next(rng) % (SCAN_PROMISES + 1));
    struct scan_filter filter = {.by_id = narrow,
                                 .id = sf_id(sim_rng_next(rng) % (IDS + 1)),
                                 .by_object = narrow,
                                 .service = objects[o].service,
                                 .key = objects[o].key,
                                 .live_only = p->kind == SCAN_INVOCATIONS && sim_rng_next(rng) % 2};
    lines_expected(&p->expected, plain, p->kind, &filter);
    p->scan = store_scan_new(s, p->kind, &filter);
}

static void scan_check(struct pending_scan *p)
{
    if (!p->scan)
        return;
    struct lines got = {0};
    lines_of_scan(&got, p->scan, p->kind);
    for (size_t i = 0; i < MIN(got.v.len, p->expected.v.len); i++)
        assert_string_equal(got.v.items[i], p->expected.v.items[i]);
    assert_int_equal(got.v.len, p->expected.v.len);
    lines_free(&got);
    lines_free(&p->expected);
    p->scan = NULL;
}

/* ---- the run ---- */

struct history {
    struct {
        uint64_t seed, now_ms;
    } items[20000];
    size_t len;
};

static void replay(struct store_fixture *f, struct actor *a, const struct history *h)
{
    a->s = f->s;
    for (lsn_t lsn = store_vars(f->s)->applied_lsn + 1; lsn <= h->len; lsn++)
        apply(a, lsn, h->items[lsn - 1].seed, h->items[lsn - 1].now_ms);
}

static void crash(struct store_fixture *f, lsn_t reported)
{
    if (f->rocks) { /* what RocksDB has not flushed would be flushed on close: only the store forgets */
        sf_close_store(f, true);
    } else {
        memory_backend_crash(f->kv);
        store_close(f->s, true, sf_on_closed, f);
        sf_wait(f);
    }
    sf_open_store(f);
    assert_true(store_vars(f->s)->applied_lsn >= reported);
}

static lsn_t store_durable_of(struct store_fixture *f)
{
    lsn_t applied;
    bool unfinished;
    struct err err = {0};
    assert_int_equal(store_peek_applied(f->kv, f->config.partition_id, &applied, &unfinished, &err), RC_OK);
    return applied;
}

static bool store_unfinished(struct store_fixture *f)
{
    lsn_t applied;
    bool unfinished;
    struct err err = {0};
    assert_int_equal(store_peek_applied(f->kv, f->config.partition_id, &applied, &unfinished, &err), RC_OK);
    return unfinished;
}

/* Back to an earlier snapshot, through an import that is broken off now and then, and on from there. */
static void restore(struct store_fixture *f, struct actor *a, const struct history *h, struct sf_snapshot *x,
                    uint64_t rng[4])
{
    sf_close_store(f, true);
    struct err err = {0};
    if (store_durable_of(f) > x->lsn) {
        assert_int_equal(sf_import(f, x, &err), RC_CONFLICT); /* an import never goes back (T-d) ... */
        sf_drop(f);                                           /* ... unless the old state was given up */
    }
    if (sim_rng_next(rng) % 2) {
        assert_int_equal(sf_import_steps(f, x, 1 + sim_rng_next(rng) % (x->files.len + 1), &err), RC_OK);
        if (!f->rocks)
            memory_backend_crash(f->kv);
        if (store_unfinished(f)) {
            assert_int_equal(store_open(f->kv, f->env, &f->config, &f->s, &err), RC_CONFLICT);
            if (sim_rng_next(rng) % 2)
                sf_drop(f);
        }
    }
    if (sf_import(f, x, &err) != RC_OK)
        fail_msg("%s", err.msg);
    sf_open_store(f);
    assert_int_equal(store_vars(f->s)->applied_lsn, x->lsn);
    replay(f, a, h);
}

/* An export while the store goes on and RocksDB compacts. */
static void save(struct store_fixture *f, struct actor *a, struct history *h, struct sf_snapshot *x)
{
    sf_snapshot_free(x);
    struct job_runner_deferred jobs;
    job_runner_deferred_init(&jobs, f->env);
    sf_export_begin(f, &jobs.base, x);
    assert_int_equal(x->lsn, h->len);
    if (f->rocks)
        rocksdb_compact_range(f->db->db, NULL, 0, NULL, 0);
    sf_export_rest(f, x);
    job_runner_deferred_free(&jobs);
    uint64_t rows;
    struct err err = {0};
    for (size_t i = 0; i < x->files.len; i++)
        assert_int_equal(snapshot_file_verify(bytes_slice(x->files.items[i]), f->config.partition_id, x->lsn,
                                              (uint32_t)i, &rows, &err),
                         RC_OK);
}

static void disturb(struct store_fixture *f, struct actor *a, struct history *h, struct sf_snapshot *x,
                    struct pending_scan *scan, uint64_t rng[4])
{
    uint64_t what = sim_rng_next(rng) % 100;
    if (what >= 66 && what < 69)
        scan_check(scan); /* the backend may go */
    if (what < 40) {
        store_maintain(f->s);
    } else if (what < 60) {
        if (f->rocks)
            sf_flush(f);
        else
            sim_env_advance(&f->sim, sim_rng_next(rng) % 700);
    } else if (what < 63) {
        sf_flush(f);
    } else if (what < 66) {
        sf_evict(f);
        assert_int_equal(f->s->invocations.count, 0);
        assert_int_equal(f->s->objects.count, 0);
        assert_int_equal(f->s->cached_bytes, 0);
        assert_int_equal(count_table(f, TABLE_LIVE), f->s->live_invocations);
    } else if (what < 67) {
        crash(f, store_durable_lsn(f->s));
        replay(f, a, h);
    } else if (what < 68 && sim_rng_next(rng) % 4 == 0) {
        sf_reopen(f);
        a->s = f->s;
        replay(f, a, h);
    } else if (what < 69) {
        if (sim_rng_next(rng) % 2 == 0)
            save(f, a, h, x);
        else if (x->files.len)
            restore(f, a, h, x, rng);
    }
}

static void run(bool rocks, uint64_t seed, size_t records)
{
    static struct history h;
    h.len = 0;
    struct store_fixture f, plain;
    struct sf_snapshot saved = {0};
    struct pending_scan scan = {0};
    sf_init(&plain, false);
    sf_init(&f, rocks);
    uint64_t rng[4];
    sim_rng_seed(rng, seed);
    plain.s->config.cache_bytes = plain.s->config.flush_dirty_bytes = SIZE_MAX;
    plain.s->config.flush_interval_ms = UINT64_MAX / 4;
    static const size_t budgets[] = {0, 100000, 1 << 20, 64 << 20};
    f.config.cache_bytes = budgets[seed % 4];
    f.config.flush_dirty_bytes = 64u << (seed % 12);
    f.config.flush_interval_ms = 500;
    sf_close_store(&f, false);
    sf_open_store(&f);
    struct actor a = {.s = f.s}, b = {.s = plain.s};
    uint64_t now = 1000000;
    for (size_t i = 0; i < records; i++) {
        now += sim_rng_next(rng) % 400;
        h.items[h.len].seed = sim_rng_next(rng);
        h.items[h.len++].now_ms = now;
        apply(&a, h.len, h.items[h.len - 1].seed, now);
        apply(&b, h.len, h.items[h.len - 1].seed, now);
        if (a.seen != b.seen || store_vars(a.s)->state_hash != store_vars(b.s)->state_hash)
            fail_msg("seed %llu: the stores differ after record %zu", (unsigned long long)seed, h.len);
        if (sim_rng_next(rng) % 3 == 0) {
            scan_check(&scan);
            scan_open(&scan, a.s, b.s, rng);
            if (sim_rng_next(rng) % 2)
                scan_check(&scan);
        }
        disturb(&f, &a, &h, &saved, &scan, rng);
        if (i % 500 == 499)
            compare(a.s, b.s);
    }
    scan_check(&scan);
    compare(a.s, b.s);
    sf_reopen(&f);
    a.s = f.s;
    compare(a.s, b.s);
    check_nothing_is_left(&f, now + 1000000);
    sf_snapshot_free(&saved);
    sf_free(&f);
    sf_free(&plain);
}

static void memory(void **unused)
{
    const char *from = getenv("STORE_SEED"); /* one seed alone, or the first of many */
    const char *count = getenv("STORE_SEEDS");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + (count ? strtoull(count, NULL, 10) : 8); seed++)
        run(false, seed, 1500);
}

static void rocks(void **unused)
{
    for (uint64_t seed = 1; seed < 4; seed++)
        run(true, seed, 700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory), cmocka_unit_test(rocks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
