/* Read-modify-write repeats when somebody else was faster and gives up in the end; a watched store reports
 * what was committed, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "metadata/kv_edit.h"
#include "metadata/kv_watch.h"
#include "unit/metadata/fake_env.h"

/* One key in memory, which answers in deferred work. `steal` versions are added by somebody else just before
 * each put, while it lasts. */
struct one_key {
    struct kv kv;
    struct fake_env env;
    struct env_task task;
    struct kv_op *op;
    struct bytes value;
    uint32_t version;
    unsigned steal;
    enum rc fault; /* of the next put */
    bool closed;
};

static void answer(struct env_task *t)
{
    struct one_key *k = CONTAINER_OF(t, struct one_key, task);
    struct kv_op *op = k->op;
    struct kv_result r = {.rc = RC_OK, .message = ""};
    k->op = NULL;
    if (op->kind == KV_GET) {
        r.rc = k->version ? RC_OK : RC_NOT_FOUND;
        r.entry = (struct kv_entry){op->key, k->value, k->version};
    } else {
        if (k->steal) {
            k->steal--;
            k->version++;
        }
        bool holds =
            op->precondition == KV_DOES_NOT_EXIST ? k->version == 0 : k->version == op->expected_version;
        r.rc = k->fault ? k->fault : holds ? RC_OK : RC_CONFLICT;
        if (r.rc == RC_OK) {
            bytes_unref(&k->value);
            k->value = op->value;
            k->version = op->version;
        } else {
            bytes_unref(&op->value);
        }
        op->value = BYTES_EMPTY;
    }
    op->done(op, &r);
}

static void one_key_submit(struct kv *kv, struct kv_op *op)
{
    struct one_key *k = CONTAINER_OF(kv, struct one_key, kv);
    assert_null(k->op);
    k->op = op;
    env_defer(&k->env.env, &k->task);
}

static void one_key_close(struct kv *kv)
{
    CONTAINER_OF(kv, struct one_key, kv)->closed = true;
}

static const struct kv_provider provider = {one_key_submit, one_key_close};

static void one_key_init(struct one_key *k)
{
    *k = (struct one_key){.kv = {&provider}};
    fake_env_init(&k->env);
    env_task_init(&k->task, answer);
}

static void one_key_free(struct one_key *k)
{
    bytes_unref(&k->value);
    fake_env_free(&k->env);
}

struct test_edit {
    struct kv_edit edit;
    unsigned changes, dones;
    enum rc result, refuse;
};

static enum rc append_x(struct kv_edit *e, const struct kv_entry *current, struct writer *w,
                        uint32_t *version, struct err *err)
{
    struct test_edit *t = CONTAINER_OF(e, struct test_edit, edit);
    t->changes++;
    if (current)
        write_slice_raw(w, bytes_slice(current->value));
    write_u8(w, 'x');
    *version = (current ? current->version : 0) + 1;
    return t->refuse;
}

static void edit_done(struct kv_edit *e, const struct err *err)
{
    struct test_edit *t = CONTAINER_OF(e, struct test_edit, edit);
    t->dones++;
    t->result = err ? err->rc : RC_OK;
}

static struct test_edit edit(struct kv *kv, struct one_key *k, enum rc refuse)
{
    struct test_edit t = {.edit = {.kv = kv, .key = "k", .change = append_x, .done = edit_done},
                          .refuse = refuse};
    kv_edit_start(&t.edit);
    assert_int_equal(t.dones, 0);
    fake_env_run(&k->env);
    assert_int_equal(t.dones, 1);
    return t;
}

static void it_creates_and_changes(void **state)
{
    struct one_key k;
    one_key_init(&k);
    assert_int_equal(edit(&k.kv, &k, RC_OK).result, RC_OK);
    assert_int_equal(edit(&k.kv, &k, RC_OK).result, RC_OK);
    assert_int_equal(k.version, 2);
    assert_true(slice_eq_cstr(bytes_slice(k.value), "xx"));
    one_key_free(&k);
}

static void it_repeats_until_it_wins_or_gives_up(void **state)
{
    struct one_key k;
    one_key_init(&k);
    k.steal = 4;
    struct test_edit t = edit(&k.kv, &k, RC_OK);
    assert_int_equal(t.result, RC_OK);
    assert_int_equal(t.changes, 5);
    assert_int_equal(k.version, 5);
    k.steal = 1000;
    t = edit(&k.kv, &k, RC_OK);
    assert_int_equal(t.result, RC_CONFLICT);
    assert_int_equal(t.changes, KV_EDIT_TRIES);
    one_key_free(&k);
}

static void nothing_to_change_is_a_success_and_refusals_are_not(void **state)
{
    struct one_key k;
    one_key_init(&k);
    assert_int_equal(edit(&k.kv, &k, RC_EOF).result, RC_OK);
    assert_int_equal(edit(&k.kv, &k, RC_INVALID).result, RC_INVALID);
    assert_int_equal(k.version, 0);
    k.fault = RC_NO_SPACE;
    assert_int_equal(edit(&k.kv, &k, RC_OK).result, RC_NO_SPACE);
    one_key_free(&k);
}

struct log {
    unsigned n;
    uint32_t last;
};

static void seen(void *ctx, const struct kv_entry *entry)
{
    struct log *l = ctx;
    assert_true(slice_eq_cstr(entry->key, "k"));
    l->n++;
    l->last = entry->version;
}

static void a_watched_store_reports_what_is_committed(void **state)
{
    struct one_key k;
    struct log l = {0};
    one_key_init(&k);
    struct kv *watched = kv_watch_new(&k.kv, seen, &l);
    edit(watched, &k, RC_OK); /* a read of nothing, a write */
    assert_int_equal(l.n, 1);
    assert_int_equal(l.last, 1);
    k.steal = 1;
    edit(watched, &k, RC_OK); /* read 1, conflict, read 2, write 3 */
    assert_int_equal(l.n, 4);
    assert_int_equal(l.last, 3);
    k.fault = RC_IO;
    edit(watched, &k, RC_OK);
    assert_int_equal(l.n, 5);
    assert_int_equal(l.last, 3);
    kv_close(watched);
    assert_true(k.closed);
    one_key_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_creates_and_changes),
        cmocka_unit_test(it_repeats_until_it_wins_or_gives_up),
        cmocka_unit_test(nothing_to_change_is_a_success_and_refusals_are_not),
        cmocka_unit_test(a_watched_store_reports_what_is_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
