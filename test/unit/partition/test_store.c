/* Every table of the store, on the memory backend and on RocksDB: what is put can be read from the cache,
 * from the backend after eviction, and after reopening. */
#include "unit/partition/store_fixture.h"

static const struct slice svc = {(const uint8_t *)"counter", 7}, key = {(const uint8_t *)"a\0b", 3};

enum stage { IN_CACHE, EVICTED, REOPENED, STAGES };
static void reach(struct store_fixture *f, enum stage stage)
{
    if (stage == EVICTED)
        sf_evict(f);
    else if (stage == REOPENED)
        sf_reopen(f);
}

static void invocations(bool rocks)
{
    struct store_fixture f;
    sf_init(&f, rocks);
    for (int big = 0; big < 2; big++) {
        struct bytes input = sf_input(sf_fill(big ? 5000 : 100, 3));
        struct sf_spec spec = {.target = {TARGET_OBJECT_EXCLUSIVE, svc, SLICE_LIT("add"), key, {0}},
                               .completion_retention_ms = 10000,
                               .journal_retention_ms = 5000,
                               .input = bytes_slice(input)};
        struct invocation_id id = sf_id(1 + (uint64_t)big);
        sf_begin(&f);
        assert_null(store_invocation_get(f.s, id));
        assert_false(store_invocation_exists(f.s, id));
        struct invocation *inv = sf_create(f.s, id, &spec, f.now_ms);
        inv->pinned = true;
        inv->deployment_id = (struct u128){7, 8};
        inv->protocol_version = 6;
        struct sink sink = {.kind = SINK_INVOCATION, .caller = sf_id(9), .completion_id = 77};
        VEC_PUSH(&inv->sinks, sink);
        struct journal_entry sig = {.type = MSG_N_SIGNAL,
                                    .notification_kind = NOTIFICATION_NAMED_SIGNAL,
                                    .result = OUTCOME_VOID,
                                    .payload = bytes_copy(SLICE_LIT("..name.."))};
        sig.signal_name = slice_sub(bytes_slice(sig.payload), 2, 4);
        store_journal_append(f.s, inv, &sig);
        struct journal_event ev = {5, 6, 1, bytes_copy(SLICE_LIT("{\"ty\":1}"))};
        store_event_append(f.s, inv, &ev);
        inv->status = INV_SUSPENDED;
        inv->awaiting.encoded = bytes_copy(SLICE_LIT("abc"));
        store_invocation_changed(f.s, inv);
        sf_end(&f);
        for (enum stage stage = 0; stage < STAGES; stage++) {
            reach(&f, stage);
            inv = store_invocation_get(f.s, id);
            assert_non_null(inv);
            assert_int_equal(inv->status, INV_SUSPENDED);
            assert_true(slice_eq(inv->si.input, bytes_slice(input)));
            assert_true(slice_eq(inv->si.target.key, key));
            assert_int_equal(inv->journal.len, 2);
            assert_true(slice_eq(bytes_slice(inv->journal.items[0].payload), bytes_slice(input)));
            assert_true(slice_eq_cstr(inv->journal.items[1].signal_name, "name"));
            assert_int_equal(inv->events.len, 1);
            assert_true(slice_eq_cstr(bytes_slice(inv->events.items[0].json), "{\"ty\":1}"));
            assert_true(slice_eq_cstr(bytes_slice(inv->awaiting.encoded), "abc"));
            assert_int_equal(inv->sinks.len, 1);
            assert_int_equal(inv->sinks.items[0].completion_id, 77);
            assert_true(inv->pinned && inv->protocol_version == 6 && inv->deployment_id.lo == 8);
            struct notification_id name = {NOTIFICATION_NAMED_SIGNAL, 0, SLICE_LIT("name")};
            assert_int_equal(store_find_notification(f.s, inv, &name), 1);
            assert_int_equal(store_find_command(f.s, inv, 3), -1);
        }
        /* rows -> packed */
        sf_begin(&f);
        inv = store_invocation_get(f.s, id);
        struct journal_entry out = {.type = MSG_OUTPUT, .payload = sf_fill(300, 5)};
        struct bytes value = bytes_part(out.payload, slice_sub(bytes_slice(out.payload), 4, 290));
        store_journal_append(f.s, inv, &out);
        sf_complete(f.s, inv, value, f.now_ms);
        sf_end(&f);
        for (enum stage stage = 0; stage < STAGES; stage++) {
            reach(&f, stage);
            inv = store_invocation_get(f.s, id);
            assert_int_equal(inv->status, INV_COMPLETED);
            assert_int_equal(inv->journal.len, 3);
            struct bytes want = sf_fill(300, 5);
            assert_true(slice_eq(bytes_slice(inv->journal.items[2].payload), bytes_slice(want)));
            assert_true(slice_eq(inv->result.value, slice_sub(bytes_slice(want), 4, 290)));
            bytes_unref(&want);
            assert_int_equal(inv->events.len, 1);
            assert_true(slice_eq(inv->si.input, bytes_slice(input)));
        }
        /* journal retention, then completion retention */
        f.now_ms += 5000;
        sf_begin(&f);
        inv = store_invocation_get(f.s, id);
        assert_true(inv->journal_purged && inv->journal.len == 0 && inv->events.len == 0);
        sf_end(&f);
        sf_evict(&f);
        assert_true(store_invocation_get(f.s, id)->journal_purged);
        f.now_ms += 5000;
        sf_begin(&f);
        assert_null(store_invocation_get(f.s, id));
        assert_non_null(sf_create(f.s, id, &spec, f.now_ms)); /* the id is free again */
        sf_end(&f);
        sf_reopen(&f);
        assert_int_equal(store_invocation_get(f.s, id)->status, INV_INVOKED);
        sf_begin(&f);
        store_invocation_delete(f.s, store_invocation_get(f.s, id));
        assert_null(store_invocation_get(f.s, id));
        sf_end(&f);
        assert_null(store_invocation_get(f.s, id));
        sf_reopen(&f);
        assert_null(store_invocation_get(f.s, id));
        bytes_unref(&input);
    }
    struct store_stats stats;
    store_get_stats(f.s, &stats);
    assert_int_equal(stats.live_invocations, 0);
    sf_free(&f);
}

static void workflow_runs_do_not_expire(bool rocks)
{
    struct store_fixture f;
    sf_init(&f, rocks);
    struct sf_spec spec = {.target = {TARGET_WORKFLOW_RUN, svc, SLICE_LIT("run"), key, {0}},
                           .completion_retention_ms = 10,
                           .journal_retention_ms = 10,
                           .input = SLICE_LIT("\x72\x02\x0a\x00")};
    sf_begin(&f);
    sf_complete(f.s, sf_create(f.s, sf_id(1), &spec, f.now_ms), bytes_copy(SLICE_LIT("done")), f.now_ms);
    sf_end(&f);
    f.now_ms += 1000;
    sf_begin(&f);
    sf_end(&f);
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        struct invocation *inv = store_invocation_get(f.s, sf_id(1));
        assert_non_null(inv);
        assert_true(inv->journal_purged);
        assert_true(slice_eq_cstr(inv->result.value, "done"));
    }
    sf_free(&f);
}

static size_t n_visited;
static struct invocation_id last_visited;
static void visit_invoked(void *ctx, struct invocation *inv)
{
    assert_int_equal(inv->status, INV_INVOKED);
    assert_true(n_visited == 0 || invocation_id_cmp(last_visited, inv->id) < 0);
    last_visited = inv->id;
    n_visited++;
}
static bool visit_any(void *ctx, const struct invocation *inv)
{
    assert_true(n_visited == 0 || invocation_id_cmp(last_visited, inv->id) < 0);
    last_visited = inv->id;
    n_visited++;
    return n_visited < (size_t)(uintptr_t)ctx;
}

static void scans(bool rocks)
{
    struct store_fixture f;
    sf_init(&f, rocks);
    struct sf_spec spec = {.target = {TARGET_SERVICE, svc, SLICE_LIT("h"), {0}, {0}},
                           .completion_retention_ms = 100000,
                           .journal_retention_ms = 100000,
                           .input = SLICE_LIT("\x72\x02\x0a\x00")};
    for (uint64_t i = 0; i < 300; i++) {
        sf_begin(&f);
        struct invocation *inv = sf_create(f.s, sf_id(i), &spec, f.now_ms);
        if (i % 3 == 1)
            sf_complete(f.s, inv, bytes_copy(SLICE_LIT("r")), f.now_ms);
        if (i % 3 == 2) {
            inv->status = INV_SUSPENDED;
            store_invocation_changed(f.s, inv);
        }
        sf_end(&f);
        if (i == 100 || i == 200)
            sf_evict(&f);
    }
    sf_begin(&f); /* both deleted in memory only */
    store_invocation_delete(f.s, store_invocation_get(f.s, sf_id(0)));
    store_invocation_delete(f.s, store_invocation_get(f.s, sf_id(299)));
    sf_end(&f);
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        n_visited = 0;
        store_scan_invoked(f.s, visit_invoked, NULL);
        assert_int_equal(n_visited, 99);
        n_visited = 0;
        store_scan_invocations(f.s, visit_any, (void *)1000);
        assert_int_equal(n_visited, 298);
        n_visited = 0;
        store_scan_invocations(f.s, visit_any, (void *)10);
        assert_int_equal(n_visited, 10);
        struct store_stats stats;
        store_get_stats(f.s, &stats);
        assert_int_equal(stats.live_invocations, 198);
    }
    sf_free(&f);
}

static void locks_and_inbox(bool rocks)
{
    struct store_fixture f;
    sf_init(&f, rocks);
    struct invocation_id owner;
    assert_false(store_lock_get(f.s, svc, key, &owner));
    enum { ENTRIES = 6000 }; /* more than is kept in memory */
    for (uint64_t i = 0; i < ENTRIES; i++) {
        sf_begin(&f);
        store_lock_set(f.s, svc, key, sf_id(4));
        struct inbox_entry e = {
            .seq = 10 + i, .kind = i % 2 ? INBOX_STATE_PATCH : INBOX_INVOCATION, .id = sf_id(i)};
        if (i % 2) {
            e.id = (struct invocation_id){0};
            e.patch = bytes_copy(SLICE_LIT("patch"));
        }
        store_inbox_push(f.s, svc, key, &e);
        sf_end(&f);
        if (i % 1000 == 999)
            sf_flush(&f);
    }
    /* A neighbour whose name has the first as a prefix sees nothing of it. */
    struct inbox_entry out;
    assert_false(store_inbox_pop(f.s, svc, SLICE_LIT("a"), &out));
    assert_false(store_inbox_pop(f.s, SLICE_LIT("counte"), SLICE_LIT("ra"), &out));
    uint64_t next = 0;
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        assert_true(store_lock_get(f.s, svc, key, &owner));
        assert_true(invocation_id_eq(owner, sf_id(4)));
        sf_begin(&f);
        assert_true(store_inbox_remove(f.s, svc, key, 10 + next + 1));
        assert_false(store_inbox_remove(f.s, svc, key, 10 + next + 1));
        assert_false(store_inbox_remove(f.s, svc, key, 9));
        assert_true(store_inbox_remove(f.s, svc, key, 10 + ENTRIES - 1 - stage));
        sf_end(&f);
        for (uint64_t i = 0; i < 700; i++, next++) {
            if (i == 1)
                continue;
            sf_begin(&f);
            assert_true(store_inbox_pop(f.s, svc, key, &out));
            assert_int_equal(out.seq, 10 + next);
            if (out.kind == INBOX_STATE_PATCH)
                assert_true(slice_eq_cstr(bytes_slice(out.patch), "patch"));
            else
                assert_true(invocation_id_eq(out.id, sf_id(next)));
            bytes_unref(&out.patch);
            sf_end(&f);
        }
    }
    for (uint64_t left = ENTRIES - 3 - next; left > 0; left--) {
        sf_begin(&f);
        assert_true(store_inbox_pop(f.s, svc, key, &out));
        bytes_unref(&out.patch);
        sf_end(&f);
    }
    assert_false(store_inbox_pop(f.s, svc, key, &out));
    sf_begin(&f);
    store_lock_clear(f.s, svc, key);
    sf_end(&f);
    sf_reopen(&f);
    assert_false(store_lock_get(f.s, svc, key, &owner));
    assert_false(store_inbox_pop(f.s, svc, key, &out));
    sf_free(&f);
}

static void put(struct store_fixture *f, const char *k, struct bytes v)
{
    store_state_put(f->s, svc, key, slice_cstr(k), v);
}

static bool has(struct store_fixture *f, const char *k, struct slice want)
{
    struct bytes v;
    if (!store_state_get(f->s, svc, key, slice_cstr(k), &v))
        return false;
    assert_true(slice_eq(bytes_slice(v), want));
    bytes_unref(&v);
    return true;
}

static bool count_state(void *ctx, struct slice k, struct bytes v)
{
    ++*(size_t *)ctx;
    return true;
}

static size_t state_keys(struct store_fixture *f)
{
    size_t n = 0;
    store_state_scan(f->s, svc, key, count_state, &n);
    return n;
}

static void state(bool rocks)
{
    struct store_fixture f;
    sf_init(&f, rocks);
    char version[44];
    store_state_version(f.s, svc, key, version);
    assert_string_equal(version, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    sf_begin(&f);
    put(&f, "name", bytes_copy(SLICE_LIT("bob")));
    sf_end(&f);
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        store_state_version(f.s, svc, key, version);
        assert_string_equal(version, "tDqA04Lj3_qJ-PgNPTecXDGZgpwy6jm2Ni2BYqJIthM");
        assert_true(has(&f, "name", SLICE_LIT("bob")));
        assert_false(has(&f, "nam", SLICE_EMPTY));
        assert_int_equal(state_keys(&f), 1);
    }
    /* Large values, an empty value under an empty key, more state than is loaded at once. */
    struct bytes big = sf_fill(50000, 9);
    sf_begin(&f);
    put(&f, "", bytes_copy(SLICE_EMPTY));
    for (int i = 0; i < 10; i++) {
        char k[8];
        snprintf(k, sizeof(k), "b%d", i);
        put(&f, k, sf_fill(50000, (uint64_t)i));
        snprintf(k, sizeof(k), "s%d", i);
        put(&f, k, sf_fill(100, (uint64_t)i));
    }
    sf_end(&f);
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        assert_true(has(&f, "b9", bytes_slice(big)));
        assert_true(has(&f, "", SLICE_EMPTY));
        assert_int_equal(state_keys(&f), 22);
        reach(&f, stage);
        assert_int_equal(state_keys(&f), 22);
    }
    sf_evict(&f);
    sf_begin(&f); /* blind changes over a backend that is not in memory */
    put(&f, "b9", bytes_copy(SLICE_LIT("small")));
    put(&f, "s0", bytes_ref(big));
    store_state_clear(f.s, svc, key, SLICE_LIT("b1"));
    store_state_clear(f.s, svc, key, SLICE_LIT("nothing"));
    sf_end(&f);
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        assert_int_equal(state_keys(&f), 21);
        assert_true(has(&f, "b9", SLICE_LIT("small")));
        assert_true(has(&f, "s0", bytes_slice(big)));
        assert_false(has(&f, "b1", SLICE_EMPTY));
    }
    sf_evict(&f);
    sf_begin(&f);
    store_state_clear_all(f.s, svc, key);
    put(&f, "s1", bytes_copy(SLICE_LIT("new")));
    sf_end(&f);
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        assert_int_equal(state_keys(&f), 1);
        assert_true(has(&f, "s1", SLICE_LIT("new")));
    }
    sf_begin(&f);
    store_state_clear_all(f.s, svc, key);
    sf_end(&f);
    sf_reopen(&f);
    assert_int_equal(state_keys(&f), 0);
    bytes_unref(&big);
    sf_free(&f);
}

static void promises(bool rocks)
{
    struct store_fixture f;
    sf_init(&f, rocks);
    struct promise p;
    assert_false(store_promise_get(f.s, svc, key, SLICE_LIT("p"), &p));
    sf_begin(&f);
    store_promise_listen(f.s, svc, key, SLICE_LIT("p"), (struct promise_listener){sf_id(1), 5});
    store_promise_listen(f.s, svc, key, SLICE_LIT("p"), (struct promise_listener){sf_id(2), 6});
    struct outcome o = {OUTCOME_SUCCESS, SLICE_LIT("value"), SLICE_EMPTY};
    store_promise_complete(f.s, svc, key, SLICE_LIT("q"), &o);
    sf_end(&f);
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        assert_true(store_promise_get(f.s, svc, key, SLICE_LIT("p"), &p));
        assert_int_equal(p.outcome.kind, OUTCOME_NONE);
        assert_int_equal(p.n_listeners, 2);
        assert_int_equal(p.listeners[1].completion_id, 6);
        assert_true(store_promise_get(f.s, svc, key, SLICE_LIT("q"), &p));
        assert_int_equal(p.n_listeners, 0);
        assert_true(slice_eq_cstr(p.outcome.value, "value"));
    }
    sf_begin(&f);
    store_promise_complete(f.s, svc, key, SLICE_LIT("p"), &o);
    sf_end(&f);
    sf_evict(&f);
    assert_true(store_promise_get(f.s, svc, key, SLICE_LIT("p"), &p));
    assert_int_equal(p.n_listeners, 0);
    sf_begin(&f);
    store_promise_clear_all(f.s, svc, key);
    sf_end(&f);
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        assert_false(store_promise_get(f.s, svc, key, SLICE_LIT("p"), &p));
        assert_false(store_promise_get(f.s, svc, key, SLICE_LIT("q"), &p));
    }
    sf_free(&f);
}

static void timers(bool rocks)
{
    struct store_fixture f;
    sf_init(&f, rocks);
    struct timer_key out[200];
    for (uint32_t i = 0; i < 150; i++) {
        sf_begin(&f);
        struct timer_key k = {1000 + (i * 37) % 150, TIMER_SLEEP, sf_id(i), i};
        store_timer_put(f.s, &k);
        sf_end(&f);
        if (i == 50)
            sf_evict(&f);
    }
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        assert_int_equal(store_timer_scan(f.s, NULL, out, 200), 150 - stage);
        for (size_t i = 1; i < 150 - stage; i++)
            assert_true(timer_key_cmp(&out[i - 1], &out[i]) < 0);
        struct timer_key at = out[10];
        assert_int_equal(store_timer_scan(f.s, &at, out, 5), 5);
        assert_true(timer_key_cmp(&at, &out[0]) < 0);
        sf_begin(&f);
        assert_true(store_timer_delete(f.s, &at));
        assert_false(store_timer_delete(f.s, &at));
        sf_end(&f);
    }
    /* Put and fired between two flushes: never written. */
    sf_flush(&f);
    size_t before = f.s->flushed_bytes;
    sf_begin(&f);
    struct timer_key k = {5, TIMER_INVOKE, sf_id(1), 0};
    store_timer_put(f.s, &k);
    assert_true(store_timer_delete(f.s, &k));
    sf_end(&f);
    assert_int_equal(f.s->dirty_objects, 0);
    sf_flush(&f);
    assert_true(f.s->flushed_bytes - before < 200);
    /* Put again while it is there, then deleted: gone. */
    sf_begin(&f);
    store_timer_put(f.s, &out[4]);
    assert_true(store_timer_delete(f.s, &out[4]));
    sf_end(&f);
    sf_reopen(&f);
    assert_int_equal(store_timer_scan(f.s, NULL, out, 200), 146);
    sf_free(&f);
}

static void outbox(bool rocks)
{
    struct store_fixture f;
    sf_init(&f, rocks);
    assert_null(store_outbox_get(f.s, 0));
    for (uint64_t i = 0; i < 200; i++) {
        sf_begin(&f);
        assert_int_equal(store_outbox_push(f.s, i * 3, CMD_INVOKE, sf_fill(100 + i, i)), i);
        sf_end(&f);
        if (i == 120)
            sf_evict(&f);
    }
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        sf_begin(&f);
        if (stage)
            store_outbox_truncate(f.s, stage * 70 - 1);
        sf_end(&f);
        for (uint64_t i = 0; i < 201; i++) {
            const struct outbox_message *m = store_outbox_get(f.s, i);
            if (i < stage * 70 || i >= 200) {
                assert_null(m);
                continue;
            }
            assert_non_null(m);
            struct bytes want = sf_fill(100 + i, i);
            assert_true(slice_eq(bytes_slice(m->record), bytes_slice(want)));
            assert_true(m->index == i && m->partition_key == i * 3 && m->kind == CMD_INVOKE);
            bytes_unref(&want);
        }
    }
    sf_begin(&f);
    store_outbox_truncate(f.s, 1000); /* beyond the end: all */
    sf_end(&f);
    sf_flush(&f);
    size_t before = f.s->flushed_bytes;
    sf_begin(&f);
    assert_int_equal(store_outbox_push(f.s, 1, CMD_SIGNAL, sf_fill(5000, 1)), 200);
    sf_end(&f);
    sf_begin(&f);
    store_outbox_truncate(f.s, 200);
    sf_end(&f);
    sf_flush(&f);
    assert_true(f.s->flushed_bytes - before < 200); /* truncated before it was flushed: never written */
    sf_reopen(&f);
    assert_null(store_outbox_get(f.s, 200));
    assert_int_equal(store_vars(f.s)->outbox_seq, 201);
    sf_free(&f);
}

static void dedup(bool rocks)
{
    struct store_fixture f;
    sf_init(&f, rocks);
    struct record_header self = {.dedup = DEDUP_SELF, .seq_hi = 2, .seq_lo = 5};
    struct record_header foreign = {.dedup = DEDUP_FOREIGN, .producer = {0, 9}, .seq_lo = 0};
    struct record_header kafka = {.dedup = DEDUP_PRODUCER, .producer = {1, 9}, .seq_lo = 100};
    struct record_header none = {.dedup = DEDUP_NONE};
    for (enum stage stage = 0; stage < STAGES; stage++) {
        reach(&f, stage);
        sf_begin(&f);
        assert_true(store_dedup_check(f.s, &self));
        assert_false(store_dedup_check(f.s, &self));
        struct record_header old = self;
        old.seq_hi--;
        old.seq_lo = 100;
        assert_false(store_dedup_check(f.s, &old));
        assert_true(store_dedup_check(f.s, &foreign));
        assert_false(store_dedup_check(f.s, &foreign));
        assert_true(store_dedup_check(f.s, &kafka));
        assert_false(store_dedup_check(f.s, &kafka));
        assert_true(store_dedup_check(f.s, &none));
        sf_end(&f);
        self.seq_hi++;
        self.seq_lo = 0;
        foreign.seq_lo++;
        kafka.seq_lo += 7;
    }
    sf_free(&f);
}

static bool is_gone(void *ctx, uint64_t owner)
{
    return owner >> 32 <= 7 && (uint32_t)owner == *(const uint32_t *)ctx;
}

/* What is known of the producers of one owner goes, in every stage of their rows; that of others stays. */
static void dedup_forgotten(bool rocks)
{
    struct store_fixture f;
    sf_init(&f, rocks);
    struct u128 mine = {1, 1}, other = {1, 2};
    uint32_t tag = producer_tag(mine);
    for (enum stage stage = 0; stage < STAGES; stage++) {
        struct record_header h[] = {
            {.dedup = DEDUP_PRODUCER, .producer = {1, 1}, .seq_lo = 100, .seq_hi = producer_owner(5, mine)},
            {.dedup = DEDUP_PRODUCER, .producer = {1, 2}, .seq_lo = 100, .seq_hi = producer_owner(6, mine)},
            {.dedup = DEDUP_PRODUCER, .producer = {1, 3}, .seq_lo = 100, .seq_hi = producer_owner(8, mine)},
            {.dedup = DEDUP_PRODUCER, .producer = {2, 1}, .seq_lo = 100, .seq_hi = producer_owner(5, other)},
            {.dedup = DEDUP_PRODUCER, .producer = {3, 1}, .seq_lo = 100},
            {.dedup = DEDUP_FOREIGN, .producer = {1, 1}, .seq_lo = 100},
        };
        uint64_t owner = 0;
        sf_begin(&f);
        for (size_t i = 0; i < ARRAY_LEN(h); i++)
            assert_int_equal(store_dedup_check(f.s, &h[i]), stage == 0 || i < 2);
        sf_end(&f);
        reach(&f, stage);
        assert_true(store_dedup_orphan(f.s, is_gone, &tag, &owner));
        assert_int_equal(owner, producer_owner(5, mine));
        sf_begin(&f);
        assert_int_equal(store_dedup_forget(f.s, tag, 7), 2);
        assert_int_equal(store_dedup_forget(f.s, tag, 6), 0);
        sf_end(&f);
        assert_false(store_dedup_orphan(f.s, is_gone, &tag, &owner));
        reach(&f, stage);
        assert_false(store_dedup_orphan(f.s, is_gone, &tag, &owner));
        assert_int_equal(store_vars(f.s)->subscriptions_version, 7);
    }
    sf_free(&f);
}

static void written(void *ctx, enum rc rc)
{
    sf_stop_loop(ctx);
}

/* A damaged value is reported, nothing is written any more, and closing does not wait for what cannot be
 * written. */
static void damage_is_reported(bool rocks)
{
    struct store_fixture f;
    sf_init(&f, rocks);
    struct sf_spec spec = {.target = {TARGET_SERVICE, svc, SLICE_LIT("h"), {0}, {0}},
                           .completion_retention_ms = 1000,
                           .input = SLICE_LIT("\x72\x02\x0a\x00")};
    sf_begin(&f);
    sf_create(f.s, sf_id(1), &spec, f.now_ms);
    sf_end(&f);
    sf_evict(&f);
    struct writer k = WRITER_INIT;
    key_begin(&k, f.config.partition_id, TABLE_INVOCATION);
    key_id(&k, sf_id(1));
    struct kv_batch *batch = f.kv->ops->batch_new(f.kv);
    f.kv->ops->batch_put(batch, writer_slice(&k), SLICE_LIT("garbage"));
    writer_free(&k);
    f.kv->ops->batch_write(f.kv, batch, written, &f);
    sf_wait(&f);
    assert_null(store_failure(f.s));
    sf_begin(&f);
    assert_null(store_invocation_get(f.s, sf_id(1)));
    sf_end(&f);
    assert_non_null(store_failure(f.s));
    assert_int_equal(store_failure(f.s)->rc, RC_CORRUPT);
    assert_non_null(strstr(store_failure(f.s)->msg, "inv_1"));
    size_t flushes = f.s->flushes;
    store_flush(f.s, sf_on_flushed, &f);
    sf_wait(&f);
    assert_int_equal(f.s->flushes, flushes);
    sf_close_store(&f, false);
    sf_free(&f);
}

#define ON_BOTH(name)                                                                                        \
    static void name##_memory(void **unused)                                                                 \
    {                                                                                                        \
        name(false);                                                                                         \
    }                                                                                                        \
    static void name##_rocks(void **unused)                                                                  \
    {                                                                                                        \
        name(true);                                                                                          \
    }
ON_BOTH(invocations)
ON_BOTH(workflow_runs_do_not_expire)
ON_BOTH(scans)
ON_BOTH(locks_and_inbox)
ON_BOTH(state)
ON_BOTH(promises)
ON_BOTH(timers)
ON_BOTH(outbox)
ON_BOTH(dedup)
ON_BOTH(dedup_forgotten)
ON_BOTH(damage_is_reported)
#define BOTH(name) cmocka_unit_test(name##_memory), cmocka_unit_test(name##_rocks)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(invocations),
        BOTH(workflow_runs_do_not_expire),
        BOTH(scans),
        BOTH(locks_and_inbox),
        BOTH(state),
        BOTH(promises),
        BOTH(timers),
        BOTH(outbox),
        BOTH(dedup),
        BOTH(dedup_forgotten),
        BOTH(damage_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
