/* The file of frames below a member of the metadata servers: cut at any byte it opens with the last complete
 * state, damage is never skipped (BETTER B12). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "metadata/frame_file.h"

#define NAME "test.frames"
#define LOCK "test.lock"

static char dir[64];

static bool readable(struct slice body)
{
    return body.len > 0 && body.ptr[0] == 'k';
}

static const struct frame_format format = {"FRMTEST1", readable};

static char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static int setup(void **state)
{
    strcpy(dir, "/tmp/restate-frames-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    unlink(path_of(NAME));
    unlink(path_of(NAME ".new"));
    unlink(path_of(LOCK));
    return rmdir(dir);
}

#define STEPS 12
struct replayed {
    char text[512];
};

static void visit(void *ctx, struct slice body)
{
    struct replayed *r = ctx;
    snprintf(r->text + strlen(r->text), sizeof(r->text) - strlen(r->text), "%.*s;", SLICE_FMT(body));
}

static struct frame_file *open_file(struct replayed *r)
{
    struct frame_file *f;
    struct err err = {0};
    memset(r, 0, sizeof(*r));
    if (frame_file_open(&format, dir, NAME, LOCK, visit, r, &f, &err))
        fail_msg("%s", err.msg);
    return f;
}

static void read_file(uint8_t *out, size_t *len)
{
    int fd = open(path_of(NAME), O_RDONLY);
    *len = (size_t)read(fd, out, 4096);
    close(fd);
}

static void write_file(const uint8_t *data, size_t len)
{
    int fd = open(path_of(NAME), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

/* After each step: how long the file was and what a replay gives. */
static size_t build(size_t lengths[STEPS + 1], struct replayed states[STEPS + 1], uint8_t *content)
{
    struct frame_file *f = open_file(&states[0]);
    lengths[0] = frame_file_size(f);
    for (int i = 0; i < STEPS; i++) {
        char body[64];
        snprintf(body, sizeof(body), "k%0*d", 1 + i * 3 % 31, i);
        states[i + 1] = states[i];
        visit(&states[i + 1], slice_cstr(body));
        assert_int_equal(frame_file_append(f, slice_cstr(body), NULL), RC_OK);
        lengths[i + 1] = frame_file_size(f);
    }
    frame_file_close(f);
    size_t len;
    read_file(content, &len);
    assert_int_equal(len, lengths[STEPS]);
    return len;
}

static void cut_at_every_byte(void **state)
{
    size_t lengths[STEPS + 1];
    struct replayed states[STEPS + 1], got;
    uint8_t content[4096];
    size_t len = build(lengths, states, content);
    for (size_t cut = 0; cut <= len; cut++) {
        write_file(content, cut);
        int complete = 0;
        while (complete < STEPS && lengths[complete + 1] <= cut)
            complete++;
        struct frame_file *f = open_file(&got);
        assert_string_equal(got.text, states[complete].text);
        /* and it goes on from there */
        assert_int_equal(frame_file_append(f, SLICE_LIT("kafter"), NULL), RC_OK);
        frame_file_close(f);
        frame_file_close(open_file(&got));
        assert_memory_equal(got.text, states[complete].text, strlen(states[complete].text));
        assert_string_equal(got.text + strlen(states[complete].text), "kafter;");
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
        enum rc rc = frame_scan(&format, slice_make(content, len), visit, &got, &good, &sequence, &err);
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

static void a_rewrite_replaces_everything(void **state)
{
    struct replayed got;
    struct frame_file *f = open_file(&got);
    for (int i = 0; i < 20; i++)
        assert_int_equal(frame_file_append(f, SLICE_LIT("kold"), NULL), RC_OK);
    assert_int_equal(frame_file_rewrite(f, SLICE_LIT("knew"), NULL), RC_OK);
    assert_int_equal(frame_file_append(f, SLICE_LIT("kmore"), NULL), RC_OK);
    frame_file_close(f);
    frame_file_close(open_file(&got));
    assert_string_equal(got.text, "knew;kmore;");
}

static void only_one_process_has_it(void **state)
{
    struct replayed got;
    struct frame_file *f = open_file(&got), *second;
    struct err err;
    assert_int_equal(frame_file_open(&format, dir, NAME, LOCK, visit, &got, &second, &err), RC_EXISTS);
    frame_file_close(f);
}

static void leftovers_of_a_rewrite_are_removed(void **state)
{
    struct replayed got;
    struct frame_file *f = open_file(&got);
    assert_int_equal(frame_file_append(f, SLICE_LIT("k1"), NULL), RC_OK);
    frame_file_close(f);
    int fd = open(path_of(NAME ".new"), O_WRONLY | O_CREAT, 0644);
    assert_int_equal(write(fd, "half", 4), 4);
    close(fd);
    frame_file_close(open_file(&got));
    assert_string_equal(got.text, "k1;");
    assert_int_not_equal(access(path_of(NAME ".new"), F_OK), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(cut_at_every_byte),
        TEST(damage_is_never_skipped),
        TEST(a_rewrite_replaces_everything),
        TEST(only_one_process_has_it),
        TEST(leftovers_of_a_rewrite_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
