/* The local key-value store: preconditions, order, durability, and that a file cut at any byte opens with the
 * last complete state (spec/cluster.md §2.2, BETTER B12). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "metadata/kv_file.h"
#include "metadata/kv_local.h"
#include "unit/metadata/fake_env.h"

static char dir[64];
static struct fake_env fenv;

static char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static int setup(void **state)
{
    strcpy(dir, "/tmp/restate-kv-XXXXXX");
    fake_env_init(&fenv);
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    unlink(path_of("metadata.kv"));
    unlink(path_of("metadata.kv.new"));
    unlink(path_of("metadata.lock"));
    rmdir(dir);
    fake_env_free(&fenv);
    return 0;
}

struct call {
    struct kv_op op;
    int answered;
    enum rc rc;
    uint32_t version;
    char value[64];
    char keys[256];
};

static void on_done(struct kv_op *op, const struct kv_result *r)
{
    struct call *c = CONTAINER_OF(op, struct call, op);
    c->answered++;
    c->rc = r->rc;
    c->version = r->entry.version;
    snprintf(c->value, sizeof(c->value), "%.*s", (int)r->entry.value.len, (const char *)r->entry.value.ptr);
    for (size_t i = 0; i < r->n_entries; i++)
        snprintf(c->keys + strlen(c->keys), sizeof(c->keys) - strlen(c->keys), "%.*s@%u ",
                 SLICE_FMT(r->entries[i].key), r->entries[i].version);
}

static struct kv *open_kv(void)
{
    struct kv *kv;
    struct err err = {0};
    if (kv_local_open(&fenv.env, NULL, dir, &kv, &err))
        fail_msg("%s", err.msg);
    return kv;
}

static void start(struct kv *kv, struct call *c, enum kv_op_kind kind, const char *key, const char *value,
                  uint32_t version, enum kv_precondition pre, uint32_t expected)
{
    memset(c, 0, sizeof(*c));
    c->op = (struct kv_op){.kind = kind,
                           .key = slice_cstr(key),
                           .version = version,
                           .precondition = pre,
                           .expected_version = expected,
                           .done = on_done};
    if (value)
        c->op.value = bytes_copy(slice_cstr(value));
    kv_submit(kv, &c->op);
    assert_int_equal(c->answered, 0);
}

static enum rc put(struct kv *kv, const char *key, const char *value, uint32_t version,
                   enum kv_precondition pre, uint32_t expected)
{
    struct call c;
    start(kv, &c, KV_PUT, key, value, version, pre, expected);
    fake_env_run(&fenv);
    assert_int_equal(c.answered, 1);
    return c.rc;
}

static const char *get(struct kv *kv, const char *key)
{
    static struct call c;
    start(kv, &c, KV_GET, key, NULL, 0, KV_NONE, 0);
    fake_env_run(&fenv);
    assert_int_equal(c.answered, 1);
    return c.rc ? "-" : c.value;
}

static const char *list(struct kv *kv, const char *prefix)
{
    static struct call c;
    start(kv, &c, KV_LIST, prefix, NULL, 0, KV_NONE, 0);
    fake_env_run(&fenv);
    return c.keys;
}

static void preconditions(void **state)
{
    struct kv *kv = open_kv();
    assert_int_equal(put(kv, "a", "1", 1, KV_MATCHES_VERSION, 1), RC_CONFLICT);
    assert_int_equal(put(kv, "a", "1", 1, KV_DOES_NOT_EXIST, 0), RC_OK);
    assert_int_equal(put(kv, "a", "2", 2, KV_DOES_NOT_EXIST, 0), RC_CONFLICT);
    assert_string_equal(get(kv, "a"), "1");
    assert_int_equal(put(kv, "a", "2", 2, KV_MATCHES_VERSION, 1), RC_OK);
    assert_int_equal(put(kv, "a", "3", 3, KV_MATCHES_VERSION, 1), RC_CONFLICT);
    assert_int_equal(put(kv, "a", "0", 1, KV_NONE, 0), RC_CONFLICT);
    assert_int_equal(put(kv, "a", "3", 7, KV_NONE, 0), RC_OK);
    assert_string_equal(get(kv, "a"), "3");
    assert_string_equal(get(kv, "b"), "-");
    assert_int_equal(put(kv, "", "3", 7, KV_NONE, 0), RC_INVALID);
    struct call c;
    start(kv, &c, KV_DELETE, "a", NULL, 0, KV_MATCHES_VERSION, 6);
    fake_env_run(&fenv);
    assert_int_equal(c.rc, RC_CONFLICT);
    start(kv, &c, KV_DELETE, "a", NULL, 0, KV_MATCHES_VERSION, 7);
    fake_env_run(&fenv);
    assert_int_equal(c.rc, RC_OK);
    assert_string_equal(get(kv, "a"), "-");
    kv_close(kv);
}

/* Of several writers with the same precondition that wait together exactly one wins; the others see its
 * value. */
static void waiting_together(void **state)
{
    struct kv *kv = open_kv();
    struct call c[5];
    start(kv, &c[0], KV_PUT, "k", "x", 1, KV_DOES_NOT_EXIST, 0);
    start(kv, &c[1], KV_PUT, "k", "y", 1, KV_DOES_NOT_EXIST, 0);
    start(kv, &c[2], KV_PUT, "other", "z", 1, KV_DOES_NOT_EXIST, 0);
    start(kv, &c[3], KV_GET, "k", NULL, 0, KV_NONE, 0);
    start(kv, &c[4], KV_PUT, "k", "w", 2, KV_MATCHES_VERSION, 1);
    fake_env_run(&fenv);
    assert_int_equal(c[0].rc, RC_OK);
    assert_int_equal(c[1].rc, RC_CONFLICT);
    assert_int_equal(c[2].rc, RC_OK);
    assert_string_equal(c[3].value, "x");
    assert_int_equal(c[4].rc, RC_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(c[i].answered, 1);
    start(kv, &c[0], KV_GET, "k", NULL, 0, KV_NONE, 0);
    env_undefer((struct env_task *)CONTAINER_OF(fenv.deferred.next, struct env_task, link));
    kv_close(kv);
    assert_int_equal(c[0].rc, RC_CLOSED);
}

static void survives_reopening(void **state)
{
    struct kv *kv = open_kv();
    put(kv, "p/2", "b", 1, KV_NONE, 0);
    put(kv, "p/1", "a", 4, KV_NONE, 0);
    put(kv, "q", "c", 1, KV_NONE, 0);
    struct call c;
    start(kv, &c, KV_DELETE, "q", NULL, 0, KV_NONE, 0);
    fake_env_run(&fenv);
    struct kv *second = NULL;
    struct err err = {0};
    assert_int_equal(kv_local_open(&fenv.env, NULL, dir, &second, &err), RC_EXISTS);
    kv_close(kv);
    kv = open_kv();
    assert_string_equal(list(kv, "p/"), "p/1@4 p/2@1 ");
    assert_string_equal(list(kv, ""), "p/1@4 p/2@1 ");
    assert_string_equal(get(kv, "p/1"), "a");
    kv_close(kv);
}

static size_t file_size(void)
{
    struct stat st;
    assert_int_equal(stat(path_of("metadata.kv"), &st), 0);
    return (size_t)st.st_size;
}

static void rewritten_when_grown(void **state)
{
    struct kv *kv = open_kv();
    char *big = calloc(1, 20001);
    memset(big, 'v', 20000);
    for (uint32_t i = 1; i <= 200; i++)
        assert_int_equal(put(kv, "big", big, i, KV_NONE, 0), RC_OK);
    assert_true(file_size() < 400 * 1024);
    put(kv, "small", "s", 1, KV_NONE, 0);
    kv_close(kv);
    kv = open_kv();
    assert_string_equal(list(kv, ""), "big@200 small@1 ");
    kv_close(kv);
    free(big);
}

/* ---- the file, cut and damaged ---- */

#define STEPS 12
struct replayed {
    char text[512];
};
static void visit(void *ctx, const struct kv_file_op *op)
{
    struct replayed *r = ctx;
    snprintf(r->text + strlen(r->text), sizeof(r->text) - strlen(r->text), "%d:%.*s=%.*s;", op->kind,
             SLICE_FMT(op->key), SLICE_FMT(op->value));
}

static void read_file(uint8_t *out, size_t *len)
{
    int fd = open(path_of("metadata.kv"), O_RDONLY);
    *len = (size_t)read(fd, out, 4096);
    close(fd);
}

static void write_file(const uint8_t *data, size_t len)
{
    int fd = open(path_of("metadata.kv"), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

/* After each step: how long the file was and what a replay gives. */
static size_t build(size_t lengths[STEPS + 1], struct replayed states[STEPS + 1], uint8_t *content)
{
    struct kv_file *f;
    struct err err = {0};
    memset(states, 0, sizeof(struct replayed) * (STEPS + 1));
    assert_int_equal(kv_file_open(dir, visit, &states[0], &f, &err), RC_OK);
    lengths[0] = kv_file_size(f);
    for (int i = 0; i < STEPS; i++) {
        char key[16], value[40];
        snprintf(key, sizeof(key), "k%d", i % 5);
        snprintf(value, sizeof(value), "%0*d", i * 3 % 31, i);
        struct writer w = WRITER_INIT;
        states[i + 1] = states[i];
        for (int j = 0; j <= i % 3; j++) {
            struct kv_file_op op = {i % 4 == 3 ? KV_FILE_DELETE : KV_FILE_PUT, (uint32_t)i, slice_cstr(key),
                                    slice_cstr(value)};
            kv_file_op_write(&w, &op);
            visit(&states[i + 1], &op);
        }
        assert_int_equal(kv_file_append(f, writer_slice(&w), &err), RC_OK);
        lengths[i + 1] = kv_file_size(f);
        writer_free(&w);
    }
    kv_file_close(f);
    size_t len;
    read_file(content, &len);
    assert_int_equal(len, lengths[STEPS]);
    return len;
}

static void cut_at_every_byte(void **state)
{
    size_t lengths[STEPS + 1];
    struct replayed states[STEPS + 1];
    uint8_t content[4096];
    size_t len = build(lengths, states, content);
    for (size_t cut = 0; cut <= len; cut++) {
        write_file(content, cut);
        int complete = 0;
        while (complete < STEPS && lengths[complete + 1] <= cut)
            complete++;
        struct kv_file *f;
        struct err err = {0};
        struct replayed got = {{0}};
        if (kv_file_open(dir, visit, &got, &f, &err))
            fail_msg("cut at %zu: %s", cut, err.msg);
        assert_string_equal(got.text, states[complete].text);
        /* and it goes on from there */
        struct writer w = WRITER_INIT;
        struct kv_file_op op = {KV_FILE_PUT, 1, SLICE_LIT("after"), SLICE_LIT("cut")};
        kv_file_op_write(&w, &op);
        assert_int_equal(kv_file_append(f, writer_slice(&w), &err), RC_OK);
        kv_file_close(f);
        memset(&got, 0, sizeof(got));
        assert_int_equal(kv_file_open(dir, visit, &got, &f, &err), RC_OK);
        kv_file_close(f);
        assert_memory_equal(got.text, states[complete].text, strlen(states[complete].text));
        assert_string_equal(got.text + strlen(states[complete].text), "1:after=cut;");
        writer_free(&w);
    }
}

/* Flipping any bit is found: in the last frame it looks like a torn tail, before it the file is refused. */
static void damage_is_never_skipped(void **state)
{
    size_t lengths[STEPS + 1];
    struct replayed states[STEPS + 1];
    uint8_t content[4096];
    size_t len = build(lengths, states, content);
    for (size_t at = 0; at < len; at++) {
        content[at] ^= 0x10;
        size_t good;
        uint64_t sequence;
        struct err err = {0};
        struct replayed got = {{0}};
        enum rc rc = kv_file_scan(slice_make(content, len), visit, &got, &good, &sequence, &err);
        content[at] ^= 0x10;
        if (at >= lengths[STEPS - 1]) {
            assert_int_equal(rc, RC_OK);
            assert_int_equal(good, lengths[STEPS - 1]);
            assert_string_equal(got.text, states[STEPS - 1].text);
        } else {
            assert_int_equal(rc, RC_CORRUPT);
        }
    }
}

static void leftovers_of_a_rewrite_are_removed(void **state)
{
    struct kv *kv = open_kv();
    put(kv, "a", "1", 1, KV_NONE, 0);
    kv_close(kv);
    int fd = open(path_of("metadata.kv.new"), O_WRONLY | O_CREAT, 0644);
    assert_int_equal(write(fd, "half", 4), 4);
    close(fd);
    kv = open_kv();
    assert_string_equal(get(kv, "a"), "1");
    kv_close(kv);
    assert_int_not_equal(access(path_of("metadata.kv.new"), F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(preconditions, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_together, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_reopening, setup, teardown),
        cmocka_unit_test_setup_teardown(rewritten_when_grown, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_at_every_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_never_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(leftovers_of_a_rewrite_are_removed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
