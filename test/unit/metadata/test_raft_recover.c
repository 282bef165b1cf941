/* Metadata after its majority is lost (metadata/raft_recover.h): a look changes nothing; the recovery keeps a
 * backup and everything that stood there, under a new storage id and as the only member; it refuses what it
 * cannot help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "metadata/raft_recover.h"

static char dir[64];

static void ignore(void *ctx, struct slice body) {}

static void append(struct slice body)
{
    struct frame_file *f;
    struct err err = {0};
    assert_int_equal(
        frame_file_open(&raft_frame_format, dir, RAFT_FILE_NAME, "raft.lock", ignore, NULL, &f, &err), RC_OK);
    assert_int_equal(frame_file_append(f, body, &err), RC_OK);
    frame_file_close(f);
}

static void record(struct writer *w, uint8_t kind, struct writer *content)
{
    write_u8(w, kind);
    write_lp(w, writer_slice(content));
    writer_free(content);
}

/* A member of three: its provisioning, the others' admission, a command that is committed and one that is
 * not. */
static void make_member(void)
{
    struct writer w = WRITER_INIT;
    raft_provision_write(&w, (struct raft_member){1, 100}, 77, SLICE_LIT("c"), true, SLICE_LIT("state"));
    append(writer_slice(&w));
    writer_free(&w);
    struct raft_members three = {.version = 3, .n = 3, .items = {{1, 100}, {2, 200}, {3, 300}}};
    struct writer members = WRITER_INIT, entries = WRITER_INIT, state = WRITER_INIT;
    raft_members_write(&members, &three);
    write_u64le(&entries, 2);
    raft_entry_write(&entries, &(struct raft_entry_view){4, RAFT_MEMBERS, writer_slice(&members)});
    raft_entry_write(&entries, &(struct raft_entry_view){4, RAFT_COMMAND, SLICE_LIT("committed")});
    raft_entry_write(&entries, &(struct raft_entry_view){4, RAFT_COMMAND, SLICE_LIT("undecided")});
    record(&w, 3, &entries);
    write_u64le(&state, 5);
    write_u32le(&state, 2);
    write_u64le(&state, 200);
    write_u64le(&state, 3);
    write_u32le(&state, 0);
    record(&w, 2, &state);
    append(writer_slice(&w));
    writer_free(&members);
    writer_free(&w);
}

static void fold(void *ctx, struct slice body)
{
    struct err err = {0};
    assert_int_equal(raft_durable_fold(ctx, body, &err), RC_OK);
}

static off_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void recovery_keeps_everything_and_makes_a_group_of_one(void **unused)
{
    struct raft_recovery r;
    struct err err = {0};
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", dir, RAFT_FILE_NAME);
    make_member();
    off_t before = size_of(path);
    assert_int_equal(raft_recover_look(dir, 999, &r, &err), RC_OK);
    assert_int_equal(size_of(path), before);
    assert_int_equal(r.members.n, 3);
    assert_int_equal(r.last_index, 4);
    assert_int_equal(r.last_term, 4);
    assert_int_equal(r.commit, 3);
    assert_int_equal(r.before.storage, 100);
    assert_int_equal(raft_recover(dir, &r, &err), RC_OK);
    assert_int_equal(size_of(r.backup), before);

    struct raft_durable d = {0};
    struct frame_file *f;
    assert_int_equal(
        frame_file_open(&raft_frame_format, dir, RAFT_FILE_NAME, "raft.lock", fold, &d, &f, &err), RC_OK);
    assert_int_equal(d.self.node, 1);
    assert_int_equal(d.self.storage, 999);
    assert_int_equal(d.fingerprint, 77);
    assert_int_equal(d.term, 6);
    assert_int_equal(d.commit, 5);
    assert_int_equal(d.vote.node, 0);
    assert_int_equal(d.entries.len, 4);
    assert_true(slice_eq(bytes_slice(d.entries.items[2].data), SLICE_LIT("undecided")));
    struct raft_members members;
    assert_true(raft_durable_members(&d, &members));
    assert_int_equal(members.version, 4);
    assert_int_equal(members.n, 1);
    assert_true(raft_member_eq(members.items[0], d.self));
    raft_durable_free(&d);

    /* In use; then: nothing is lost any more. */
    assert_int_equal(raft_recover(dir, &r, &err), RC_EXISTS);
    frame_file_close(f);
    raft_recovery_free(&r);
    assert_int_equal(raft_recover_look(dir, 1000, &r, &err), RC_INVALID);
}

static void recovery_refuses_what_it_cannot_help(void **unused)
{
    struct raft_recovery r;
    struct err err = {0};
    assert_int_equal(raft_recover_look(dir, 999, &r, &err), RC_NOT_FOUND);
    /* An identity without metadata: a node that was never taken in. */
    struct writer w = WRITER_INIT;
    raft_provision_write(&w, (struct raft_member){2, 200}, 77, SLICE_LIT("c"), false, SLICE_EMPTY);
    append(writer_slice(&w));
    writer_free(&w);
    assert_int_equal(raft_recover_look(dir, 999, &r, &err), RC_INVALID);
}

static int setup(void **unused)
{
    strcpy(dir, "/tmp/raft-recover-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **unused)
{
    char *command = xasprintf("rm -r %s", dir);
    int rc = system(command);
    free(command);
    return rc;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(recovery_keeps_everything_and_makes_a_group_of_one),
        TEST(recovery_refuses_what_it_cannot_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
