/* Shows why the packaged libraft (0.15.0) does not carry the metadata server: its leader commits an entry of
 * an earlier term by counting replicas (the case of figure 8 of the Raft paper; fixed upstream after 0.15, in
 * canonical/raft pull request 336), so a committed entry may vanish (invariant M-3 of spec/cluster.md §11.2).
 *
 *   cc -o figure8 tools/libraft/figure8.c -lraft && ./figure8
 *
 * One instance is driven through its own `struct raft_io`. Its disk holds index 1 (configuration of three
 * voters) and index 2 of term 2. It is elected for term 4 by one vote; then one follower reports to have
 * index 2, and nothing of term 4 exists anywhere. Exit 1: index 2 was committed. Exit 0: it was not. */
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static raft_io_tick_cb tick_cb;
static raft_io_recv_cb recv_cb;
static raft_time now;
static struct raft_io_append *appends[64];
static struct {
    struct raft_io_send *req;
    raft_io_send_cb cb;
} sends[256];
static size_t n_sends;

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    return 0;
}
static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    cb(io);
}
static struct raft_entry entry_of(raft_term term, unsigned short type, struct raft_buffer buf)
{
    return (struct raft_entry){.term = term, .type = type, .buf = buf};
}
static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for, struct raft_snapshot **snapshot,
                   raft_index *start_index, struct raft_entry **entries, size_t *n)
{
    struct raft_configuration conf;
    struct raft_buffer buf, cmd = {raft_calloc(1, 8), 8};
    raft_configuration_init(&conf);
    raft_configuration_add(&conf, 1, "1", RAFT_VOTER);
    raft_configuration_add(&conf, 2, "2", RAFT_VOTER);
    raft_configuration_add(&conf, 3, "3", RAFT_VOTER);
    raft_configuration_encode(&conf, &buf);
    raft_configuration_close(&conf);
    *term = 3, *voted_for = 0, *snapshot = NULL, *start_index = 1;
    *entries = raft_calloc(2, sizeof(**entries));
    (*entries)[0] = entry_of(1, RAFT_CHANGE, buf);
    (*entries)[1] = entry_of(2, RAFT_COMMAND, cmd);
    /* batches, as loaded entries must have */
    (*entries)[0].batch = buf.base;
    (*entries)[1].batch = cmd.base;
    *n = 2;
    return 0;
}
static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb t, raft_io_recv_cb r)
{
    tick_cb = t, recv_cb = r;
    return 0;
}
static int io_set_term(struct raft_io *io, raft_term term)
{
    return 0;
}
static int io_set_vote(struct raft_io *io, raft_id id)
{
    return 0;
}
static int io_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *m,
                   raft_io_send_cb cb)
{
    req->cb = cb;
    sends[n_sends].req = req;
    sends[n_sends++].cb = cb;
    return 0;
}
static int io_append(struct raft_io *io, struct raft_io_append *req, const struct raft_entry e[], unsigned n,
                     raft_io_append_cb cb)
{
    printf("append of %u entries, held back on the disk\n", n);
    appends[0] = req;
    return 0;
}
static int io_truncate(struct raft_io *io, raft_index index)
{
    return 0;
}
static raft_time io_time(struct raft_io *io)
{
    return now;
}
static int io_random(struct raft_io *io, int min, int max)
{
    return min;
}
static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    return 0;
}

static void deliver_sends(struct raft_io *io)
{
    for (size_t i = 0; i < n_sends; i++)
        sends[i].cb(sends[i].req, 0);
    n_sends = 0;
}

int main(void)
{
    struct raft_io io = {.version = 1,
                         .init = io_init,
                         .close = io_close,
                         .load = io_load,
                         .start = io_start,
                         .set_term = io_set_term,
                         .set_vote = io_set_vote,
                         .send = io_send,
                         .append = io_append,
                         .truncate = io_truncate,
                         .time = io_time,
                         .random = io_random};
    struct raft_fsm fsm = {.version = 1, .apply = fsm_apply};
    static struct raft r;
    if (raft_init(&r, &io, &fsm, 1, "1") || raft_start(&r))
        return 2;
    now += 1500;
    tick_cb(&io);
    deliver_sends(&io);
    printf("state %d (3 = leader, 2 = candidate), term %llu\n", raft_state(&r), r.current_term);
    struct raft_message vote = {.type = RAFT_IO_REQUEST_VOTE_RESULT, .server_id = 2, .server_address = "2"};
    vote.request_vote_result.term = r.current_term;
    vote.request_vote_result.vote_granted = true;
    recv_cb(&io, &vote);
    deliver_sends(&io);
    printf("state %d, term %llu, last index %llu, committed %llu\n", raft_state(&r), r.current_term,
           raft_last_index(&r), r.commit_index);
    struct raft_message stored = {
        .type = RAFT_IO_APPEND_ENTRIES_RESULT, .server_id = 2, .server_address = "2"};
    stored.append_entries_result.term = r.current_term;
    stored.append_entries_result.last_log_index = 2;
    recv_cb(&io, &stored);
    printf("a follower has index 2 (term 2) while the leader is of term %llu: committed %llu\n",
           r.current_term, r.commit_index);
    if (r.commit_index < 2)
        return 0;
    printf("an entry of an earlier term was committed by counting replicas: a server whose last entry is of "
           "term 3 can still be elected and overwrite it\n");
    return 1;
}
