/* Both sides of scans between nodes (node/query_remote.h). A question is one letter and what it needs:
 *   'o' scan_request        opens a scan; the answer is its number (8 bytes)
 *   'n' number              the next piece: 'r' and rows, 'e' at the end, 'w': nothing yet, ask again
 *   'c' number              the asker does not want more
 * Numbers are little-endian. A scan that is not asked for a minute ends. */
#define _GNU_SOURCE /* pthread_cond_clockwait */
#include "node/query_remote.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "node/node_internal.h"

#define SCANS_MAX     256u
#define IDLE_LIMIT_MS 60000u
#define WAIT_MS       5000u /* an answer is not held back for longer */
#define CALL_LIMIT_MS 20000u
#define WAIT_SLICE_NS 20000000

/* ---- the asked node, main loop ---- */

struct query_scans {
    struct node *node;
    struct list scans;
    size_t n;
    uint64_t next_id;
};

struct scan {
    struct query_scans *owner;
    struct list link;
    uint64_t id;
    struct query_job *job; /* NULL: it has ended */
    struct sql_error err;
    struct {
        struct bytes *items;
        size_t len, cap;
    } pieces;
    size_t at; /* pieces before are gone */
    struct node_answer *waiting;
    struct env_timer timer; /* waiting: answer; else: idle for too long */
};

static void answer_letter(struct node_answer *a, char letter, struct slice rows)
{
    struct writer w = WRITER_INIT;
    write_u8(&w, (uint8_t)letter);
    write_slice_raw(&w, rows);
    node_answer_send(a, RC_OK, "", writer_slice(&w));
    writer_free(&w);
}

static void scan_free(struct scan *s)
{
    if (s->waiting)
        node_answer_send(s->waiting, RC_CANCELED, "the scan was ended", SLICE_EMPTY);
    if (s->job)
        query_cancel(s->job);
    for (size_t i = s->at; i < s->pieces.len; i++)
        bytes_unref(&s->pieces.items[i]);
    VEC_FREE(&s->pieces);
    env_timer_cancel(s->owner->node->env, &s->timer);
    list_remove(&s->link);
    s->owner->n--;
    free(s);
}

/* Give the waiting question what there is; the scan may be gone afterwards. */
static void serve(struct scan *s)
{
    struct node_answer *a = s->waiting;
    if (!a || (s->at == s->pieces.len && s->job))
        return;
    s->waiting = NULL;
    env_timer_arm(s->owner->node->env, &s->timer, IDLE_LIMIT_MS);
    if (s->at < s->pieces.len) {
        struct bytes piece = s->pieces.items[s->at++];
        answer_letter(a, 'r', bytes_slice(piece));
        if (s->job)
            query_taken(s->job, piece.len);
        bytes_unref(&piece);
        if (s->at == s->pieces.len)
            s->at = s->pieces.len = 0;
        return;
    }
    if (s->err.kind == SQL_ERROR_NONE)
        answer_letter(a, 'e', SLICE_EMPTY);
    else
        node_answer_send(a, RC_INTERNAL, s->err.message, SLICE_EMPTY);
    scan_free(s);
}

static void scan_timer(struct env_timer *t)
{
    struct scan *s = CONTAINER_OF(t, struct scan, timer);
    if (!s->waiting) {
        scan_free(s);
        return;
    }
    struct node_answer *a = s->waiting;
    s->waiting = NULL;
    env_timer_arm(s->owner->node->env, &s->timer, IDLE_LIMIT_MS);
    answer_letter(a, 'w', SLICE_EMPTY);
}

static void on_data(void *ctx, struct bytes take)
{
    struct scan *s = ctx;
    VEC_PUSH(&s->pieces, take);
    serve(s);
}

static void on_end(void *ctx, const struct sql_error *err, uint64_t rows, unsigned retry_after_s)
{
    struct scan *s = ctx;
    s->job = NULL;
    s->err = *err;
    serve(s);
}

static void open_scan(struct query_scans *all, struct slice request, struct node_answer *answer)
{
    static const struct query_events events = {.on_data = on_data, .on_end = on_end};
    struct query_engine *engine = all->node->scan_engine;
    if (!engine || all->n >= SCANS_MAX) {
        node_answer_send(answer, RC_OVERLOADED, "the node cannot scan for others now", SLICE_EMPTY);
        return;
    }
    struct scan *s = xcalloc(1, sizeof(*s));
    s->owner = all;
    s->id = ++all->next_id;
    list_push_back(&all->scans, &s->link);
    all->n++;
    env_timer_init(&s->timer, scan_timer);
    env_timer_arm(all->node->env, &s->timer, IDLE_LIMIT_MS);
    struct query_request r = {.scan = request, .context = SQL_CONTEXT_ADMIN};
    s->job = query_start(engine, &r, &events, s);
    uint8_t id[8];
    put_u64le(id, s->id);
    node_answer_send(answer, RC_OK, "", slice_make(id, sizeof(id)));
}

static struct scan *find(const struct query_scans *all, uint64_t id)
{
    LIST_FOREACH(n, &all->scans)
    {
        struct scan *s = CONTAINER_OF(n, struct scan, link);
        if (s->id == id)
            return s;
    }
    return NULL;
}

void query_scans_question(struct query_scans *all, struct slice payload, struct node_answer *answer)
{
    struct reader r = reader_make(payload);
    char letter = (char)read_u8(&r);
    if (letter == 'o' && reader_left(&r)) {
        open_scan(all, slice_make(r.p, reader_left(&r)), answer);
        return;
    }
    uint64_t id = read_u64le(&r);
    struct scan *s = reader_done(&r) ? find(all, id) : NULL;
    if (letter == 'c') {
        if (s)
            scan_free(s);
        node_answer_send(answer, RC_OK, "", SLICE_EMPTY);
    } else if (letter != 'n' || !s || s->waiting) {
        node_answer_send(answer, RC_NOT_FOUND, "there is no such scan any more", SLICE_EMPTY);
    } else {
        s->waiting = answer;
        env_timer_arm(all->node->env, &s->timer, WAIT_MS);
        serve(s);
    }
}

struct query_scans *query_scans_new(struct node *n)
{
    struct query_scans *all = xcalloc(1, sizeof(*all));
    all->node = n;
    list_init(&all->scans);
    return all;
}

void query_scans_free(struct query_scans *all)
{
    while (!list_empty(&all->scans))
        scan_free(CONTAINER_OF(all->scans.next, struct scan, link));
    free(all);
}

/* ---- the asking node, query threads ---- */

/* One question on its way; shared by the query's thread and the main loop. */
struct inquiry {
    struct loop_msg msg;
    struct node_call call;
    struct node *node;
    uint32_t to;
    struct bytes payload;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    bool done;
    int refs;
    struct err err;
    struct bytes answer;
};

/* With the lock held; gives it up. */
static void inquiry_unref(struct inquiry *q)
{
    bool last = --q->refs == 0;
    pthread_mutex_unlock(&q->lock);
    if (!last)
        return;
    bytes_unref(&q->payload);
    bytes_unref(&q->answer);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->changed);
    free(q);
}

static void inquiry_done(struct node_call *c, enum rc rc, const char *message, struct slice payload)
{
    struct inquiry *q = CONTAINER_OF(c, struct inquiry, call);
    pthread_mutex_lock(&q->lock);
    q->done = true;
    if (rc != RC_OK)
        err_set(&q->err, rc, "Internal error: N%u: %s", q->to, message);
    else
        q->answer = bytes_copy(payload);
    pthread_cond_signal(&q->changed);
    inquiry_unref(q);
}

static void inquire_on_loop(struct loop_msg *m)
{
    struct inquiry *q = CONTAINER_OF(m, struct inquiry, msg);
    if (!q->node->control) {
        inquiry_done(&q->call, RC_CLOSED, "the server is shutting down", SLICE_EMPTY);
        return;
    }
    q->call.done = inquiry_done;
    control_link_call(q->node->control, &q->call, q->to, NODE_METHOD_SCAN, bytes_slice(q->payload),
                      CALL_LIMIT_MS);
}

static struct inquiry *inquiry_send(struct node *n, uint32_t to, char letter, struct slice content)
{
    struct inquiry *q = xcalloc(1, sizeof(*q));
    struct writer w = WRITER_INIT;
    write_u8(&w, (uint8_t)letter);
    write_slice_raw(&w, content);
    q->payload = writer_take(&w);
    q->node = n;
    q->to = to;
    q->refs = 2;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    q->msg.deliver = inquire_on_loop;
    loop_post(n->loop, &q->msg);
    return q;
}

static enum rc inquire(struct node *n, uint32_t to, char letter, struct slice content,
                       const struct query_wait *wait, struct bytes *answer, struct err *err)
{
    struct inquiry *q = inquiry_send(n, to, letter, content);
    bool canceled = false;
    pthread_mutex_lock(&q->lock);
    while (!q->done && !canceled) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_nsec += WAIT_SLICE_NS;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        pthread_cond_clockwait(&q->changed, &q->lock, CLOCK_MONOTONIC, &t);
        canceled = !q->done && wait->canceled && wait->canceled(wait->ctx);
    }
    if (canceled)
        err_set(err, RC_CANCELED, "the query was canceled");
    else if (q->err.rc != RC_OK)
        *err = q->err;
    else
        *answer = bytes_ref(q->answer);
    inquiry_unref(q);
    return err->rc;
}

struct remote_stream {
    struct row_stream base;
    struct node *node;
    uint32_t leader;
    uint8_t id[8];
    bool ended;
    struct query_wait wait;
};

static enum rc stream_next(struct row_stream *base, struct bytes *out, struct err *err)
{
    struct remote_stream *s = CONTAINER_OF(base, struct remote_stream, base);
    *out = BYTES_EMPTY;
    while (!s->ended) {
        struct bytes answer = BYTES_EMPTY;
        if (inquire(s->node, s->leader, 'n', slice_make(s->id, 8), &s->wait, &answer, err) != RC_OK)
            return err->rc;
        char letter = answer.len ? (char)answer.ptr[0] : 0;
        if (letter == 'r')
            *out = bytes_part(answer, slice_sub(bytes_slice(answer), 1, answer.len - 1));
        s->ended = letter == 'e';
        bytes_unref(&answer);
        if (letter == 'r' && out->len)
            return RC_OK;
        if (letter != 'r' && letter != 'e' && letter != 'w')
            return err_set(err, RC_INTERNAL, "Internal error: N%u answers a scan with something else",
                           s->leader);
    }
    return RC_OK;
}

static void stream_close(struct row_stream *base)
{
    struct remote_stream *s = CONTAINER_OF(base, struct remote_stream, base);
    if (!s->ended) { /* nobody waits for the answer */
        struct inquiry *q = inquiry_send(s->node, s->leader, 'c', slice_make(s->id, 8));
        pthread_mutex_lock(&q->lock);
        inquiry_unref(q);
    }
    free(s);
}

static const struct row_stream_ops stream_ops = {stream_next, stream_close};

enum rc query_remote_open(void *ctx, uint32_t partition, struct slice request, const struct query_wait *wait,
                          struct row_stream **out, struct err *err)
{
    struct node *n = ctx;
    uint32_t leader = atomic_load(&n->map->slots[partition].leader_node);
    struct bytes answer = BYTES_EMPTY;
    if (!leader || leader == n->joined.node_id)
        return err_set(err, RC_UNAVAILABLE, "Internal error: partition %u changes its leader", partition);
    if (inquire(n, leader, 'o', request, wait, &answer, err) != RC_OK)
        return err->rc;
    if (answer.len == 8) {
        struct remote_stream *s = xcalloc(1, sizeof(*s));
        s->base.ops = &stream_ops;
        s->node = n;
        s->leader = leader;
        s->wait = *wait;
        memcpy(s->id, answer.ptr, 8);
        *out = &s->base;
    } else {
        err_set(err, RC_INTERNAL, "Internal error: N%u does not answer scans", leader);
    }
    bytes_unref(&answer);
    return err->rc;
}
