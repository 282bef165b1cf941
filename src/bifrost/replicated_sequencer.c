/* The sequencer of a replicated segment: see replicated_sequencer.h. */
#include "bifrost/replicated_sequencer.h"

#include <stdlib.h>

#include "bifrost/replicated_fanout.h"

#define WINDOW_RECORDS   1000u
#define WINDOW_BYTES     ((size_t)64 << 20)
#define WAVE_BYTES       ((size_t)4 << 20)  /* of one wave; a single larger record goes alone */
#define NODE_BYTES       ((size_t)16 << 20) /* on the way to one node ... */
#define NODE_SENDS       64u                /* ... and how many waves */
#define CHECK_MS         2000 /* whoever has not answered for so long is asked: a foreign seal shows (B7) */
/* Commits are announced this late at the latest, if no wave does it; nobody waits for it in a cluster of one.
 */
#define RELEASE_MS       5
#define RELEASE_ALONE_MS 50

struct wave {
    struct list link;
    uint64_t first;
    struct marks stored, sent; /* sent: on the way */
    size_t bytes;
    uint32_t n;
    struct bytes records[];
};

/* A wave on its way to a node. */
struct send {
    struct list link; /* seq_node.sends */
    struct seq_node *node;
    struct wave *wave; /* NULL: committed meanwhile, only the outcome matters */
    struct loglet_call call;
    size_t bytes;
};

struct seq_node {
    struct sequencer *seq;
    unsigned position;
    struct list sends;
    unsigned n_sends;
    size_t sent_bytes;
    bool sealed, paused;
    bool heard; /* a reply came since the last check */
    unsigned failures;
    uint64_t told, confirmed; /* committed tail in our last message to it; in its last reply */
    struct env_timer resume;
    struct loglet_call probe;
};

struct sequencer {
    struct sequencer_config config;
    struct loglet_calls *calls;
    struct loglet_params params;
    struct quorum quorum;
    struct marks lost; /* members that say LOGLET_LOST */
    struct seq_node *nodes;
    struct list waves;
    uint64_t next, committed;
    size_t inflight_bytes;
    uint64_t progress_ms; /* of the last commit, or when the first wave came */
    bool sealed, draining;
    struct env_timer release, check;
    struct env_task drained;
    void (*drain_done)(void *ctx);
    void *drain_ctx;
    struct loglet_listener listener;
};

static void pump(struct seq_node *n);

/* At the next multiple of `period_ms`: the timers of all sequencers of a loop fire together, and what they
 * send leaves together. */
static void arm_together(struct sequencer *s, struct env_timer *t, uint64_t period_ms)
{
    uint64_t now = env_mono_ms(s->calls->env);
    env_timer_arm_at(s->calls->env, t, (now / period_ms + 1) * period_ms);
}

/* ---- commit ---- */

static void wave_free(struct sequencer *s, struct wave *w)
{
    for (unsigned i = 0; i < s->params.nodeset.len; i++) {
        if (!marks_has(w->sent, i))
            continue;
        LIST_FOREACH(l, &s->nodes[i].sends)
        {
            struct send *send = CONTAINER_OF(l, struct send, link);
            if (send->wave == w)
                send->wave = NULL;
        }
    }
    for (uint32_t i = 0; i < w->n; i++)
        bytes_unref(&w->records[i]);
    s->inflight_bytes -= w->bytes;
    list_remove(&w->link);
    free(w);
}

/* Commit is a prefix (§5.14, 2): a wave counts only when all before it do. */
static void commit(struct sequencer *s)
{
    uint64_t before = s->committed;
    while (!list_empty(&s->waves)) {
        struct wave *w = CONTAINER_OF(s->waves.next, struct wave, link);
        if (!quorum_is_write(&s->quorum, marks_and(w->stored, s->quorum.authoritative)))
            break;
        ASSERT(w->first == s->committed);
        s->committed = w->first + w->n;
        wave_free(s, w);
    }
    if (s->committed == before)
        return;
    ASSERT(s->committed <= s->next);
    s->progress_ms = env_mono_ms(s->calls->env);
    if (!env_timer_armed(&s->release))
        arm_together(s, &s->release, s->calls->nodes->len > 1 ? RELEASE_MS : RELEASE_ALONE_MS);
    if (s->drain_done && list_empty(&s->waves))
        env_defer(s->calls->env, &s->drained);
    s->config.committed(s->config.ctx, s->committed);
}

static void note_sealed(struct sequencer *s, struct seq_node *n)
{
    n->sealed = true;
    struct marks sealed = {{0}};
    for (unsigned i = 0; i < s->params.nodeset.len; i++) {
        if (s->nodes[i].sealed)
            marks_add(&sealed, i);
    }
    if (s->sealed || !quorum_is_f_majority(&s->quorum, sealed))
        return;
    s->sealed = true;
    s->config.sealed(s->config.ctx);
}

static void count_anew(struct sequencer *s)
{
    quorum_init(&s->quorum, &s->params.replication, &s->params.nodeset, s->calls->nodes);
    quorum_lose(&s->quorum, s->lost);
}

/* Its disk was lost since, and with it every copy that it had. */
static void note_lost(struct seq_node *n)
{
    marks_add(&n->seq->lost, n->position);
    count_anew(n->seq);
}

/* ---- sending ---- */

static void node_fail(struct seq_node *n)
{
    if (n->paused)
        return;
    n->paused = true;
    n->failures++;
    env_timer_arm(n->seq->calls->env, &n->resume, loglet_pause_ms(n->failures));
}

static void node_resume(struct seq_node *n)
{
    n->paused = false;
    env_timer_cancel(n->seq->calls->env, &n->resume);
    pump(n);
}

static void resume_fire(struct env_timer *t)
{
    node_resume(CONTAINER_OF(t, struct seq_node, resume));
}

static void send_free(struct send *send)
{
    struct seq_node *n = send->node;
    loglet_call_cancel(&send->call);
    n->n_sends--;
    n->sent_bytes -= send->bytes;
    list_remove(&send->link);
    if (send->wave)
        marks_remove(&send->wave->sent, n->position);
    free(send);
}

/* The node says that something before this wave is missing there: what was sent before it is lost, or late.
 * Do not wait for its time-out. */
static void forget_sends_before(struct seq_node *n, const struct wave *w)
{
    LIST_FOREACH_SAFE(l, next, &n->sends)
    {
        struct send *send = CONTAINER_OF(l, struct send, link);
        if (send->wave && send->wave->first < w->first)
            send_free(send);
    }
}

static void on_stored(struct loglet_call *call, const struct loglet_message *m)
{
    struct send *send = CONTAINER_OF(call, struct send, call);
    struct seq_node *n = send->node;
    struct sequencer *s = n->seq;
    struct wave *w = send->wave;
    send_free(send);
    if (m) {
        n->confirmed = MAX(n->confirmed, m->committed_tail);
        n->heard = true;
        if (m->sealed || m->status == LOGLET_IS_SEALED)
            note_sealed(s, n);
        if (m->status == LOGLET_LOST)
            note_lost(n);
    }
    if (m && m->status == LOGLET_OK) {
        n->failures = 0;
        if (w)
            marks_add(&w->stored, n->position);
        commit(s);
    } else if (!n->sealed) {
        /* No answer, shed, full, an earlier wave was lost: again from the first that is missing. */
        if (m && m->status == LOGLET_OUT_OF_BOUNDS && w)
            forget_sends_before(n, w);
        node_fail(n);
    }
    pump(n);
}

static void send_wave(struct seq_node *n, struct wave *w)
{
    struct sequencer *s = n->seq;
    struct send *send = xcalloc(1, sizeof(*send));
    send->node = n;
    send->wave = w;
    send->bytes = w->bytes;
    n->n_sends++;
    n->sent_bytes += w->bytes;
    list_push_back(&n->sends, &send->link);
    marks_add(&w->sent, n->position);
    loglet_call_init(&send->call, on_stored);
    struct loglet_message m = loglet_request(&s->params, LOGLET_STORE, s->committed, 1);
    m.first_offset = w->first;
    m.records = w->records;
    m.n_records = w->n;
    uint64_t timeout = loglet_timeout_ms(n->failures + 1);
    m.timeout_ms = (uint32_t)timeout;
    n->told = s->committed;
    loglet_call_start(s->calls, &send->call, s->params.nodeset.ids[n->position], &m, timeout);
}

/* Send what the node lacks, in order. The log-server takes a wave if it continues what it has, or if the
 * committed tail in the message justifies the hole: the first wave in our list always starts at the committed
 * tail. */
static void pump(struct seq_node *n)
{
    struct sequencer *s = n->seq;
    if (n->paused || n->sealed || s->sealed || !marks_has(s->quorum.writable, n->position))
        return;
    LIST_FOREACH(l, &s->waves)
    {
        struct wave *w = CONTAINER_OF(l, struct wave, link);
        if (marks_has(w->stored, n->position) || marks_has(w->sent, n->position))
            continue;
        if (n->n_sends > 0 && (n->n_sends == NODE_SENDS || n->sent_bytes + w->bytes > NODE_BYTES))
            return;
        send_wave(n, w);
    }
}

static void pump_all(struct sequencer *s)
{
    for (unsigned i = 0; i < s->params.nodeset.len; i++)
        pump(&s->nodes[i]);
}

/* ---- announcing commits ---- */

static void release_fire(struct env_timer *t)
{
    struct sequencer *s = CONTAINER_OF(t, struct sequencer, release);
    for (unsigned i = 0; i < s->params.nodeset.len; i++) {
        if (s->nodes[i].told >= s->committed || !marks_has(s->quorum.effective, i))
            continue;
        struct loglet_message m = loglet_request(&s->params, LOGLET_RELEASE, s->committed, 1);
        s->nodes[i].told = s->committed;
        s->calls->net->send(s->calls->net, s->params.nodeset.ids[i], &m);
    }
}

static void on_probe(struct loglet_call *call, const struct loglet_message *m)
{
    struct seq_node *n = CONTAINER_OF(call, struct seq_node, probe);
    if (!m)
        return;
    n->confirmed = MAX(n->confirmed, m->committed_tail);
    n->heard = true;
    if (m->sealed)
        note_sealed(n->seq, n);
    if (m->status == LOGLET_LOST)
        note_lost(n);
}

/* A lost Release is repeated, and a seal from elsewhere is noticed also by a sequencer that has nothing to
 * append. */
static void check_fire(struct env_timer *t)
{
    struct sequencer *s = CONTAINER_OF(t, struct sequencer, check);
    for (unsigned i = 0; i < s->params.nodeset.len; i++) {
        struct seq_node *n = &s->nodes[i];
        bool current = n->heard && n->confirmed >= s->committed;
        n->heard = false;
        if (current || loglet_call_pending(&n->probe) || !marks_has(s->quorum.effective, i) ||
            marks_has(s->lost, i))
            continue;
        struct loglet_message m = loglet_request(&s->params, LOGLET_GET_INFO, s->committed, 1);
        loglet_call_start(s->calls, &n->probe, s->params.nodeset.ids[i], &m, loglet_timeout_ms(2));
    }
    arm_together(s, &s->check, CHECK_MS);
}

/* ---- nodes come and go ---- */

static void node_alive(struct loglet_listener *l, uint32_t node)
{
    struct sequencer *s = CONTAINER_OF(l, struct sequencer, listener);
    int position = nodeset_position(&s->params.nodeset, node);
    if (position < 0)
        return;
    s->nodes[position].failures = 0;
    if (s->nodes[position].paused)
        node_resume(&s->nodes[position]);
}

static void nodes_changed(struct loglet_listener *l)
{
    struct sequencer *s = CONTAINER_OF(l, struct sequencer, listener);
    count_anew(s);
    commit(s);
    pump_all(s);
}

/* ---- the calls ---- */

static void drained(struct env_task *t)
{
    struct sequencer *s = CONTAINER_OF(t, struct sequencer, drained);
    void (*done)(void *ctx) = s->drain_done;
    s->drain_done = NULL;
    if (done)
        done(s->drain_ctx);
}

struct sequencer *sequencer_new(const struct sequencer_config *config)
{
    ASSERT_MSG(node_ref_eq(config->params->sequencer, config->calls->me),
               "a sequencer for a segment of another process");
    struct sequencer *s = xcalloc(1, sizeof(*s));
    s->config = *config;
    s->config.params = NULL;
    s->calls = config->calls;
    s->params = *config->params;
    if (!s->config.window_records)
        s->config.window_records = WINDOW_RECORDS;
    if (!s->config.window_bytes)
        s->config.window_bytes = WINDOW_BYTES;
    s->next = s->committed = 1;
    list_init(&s->waves);
    quorum_init(&s->quorum, &s->params.replication, &s->params.nodeset, s->calls->nodes);
    s->nodes = xcalloc(s->params.nodeset.len, sizeof(*s->nodes));
    for (unsigned i = 0; i < s->params.nodeset.len; i++) {
        struct seq_node *n = &s->nodes[i];
        n->seq = s;
        n->position = i;
        n->told = n->confirmed = 1;
        list_init(&n->sends);
        env_timer_init(&n->resume, resume_fire);
        loglet_call_init(&n->probe, on_probe);
    }
    env_timer_init(&s->release, release_fire);
    env_timer_init(&s->check, check_fire);
    env_task_init(&s->drained, drained);
    arm_together(s, &s->check, CHECK_MS);
    s->listener = (struct loglet_listener){.node_alive = node_alive, .nodes_changed = nodes_changed};
    loglet_calls_listen(s->calls, &s->listener);
    return s;
}

void sequencer_free(struct sequencer *s)
{
    loglet_calls_unlisten(&s->listener);
    env_timer_cancel(s->calls->env, &s->release);
    env_timer_cancel(s->calls->env, &s->check);
    env_undefer(&s->drained);
    for (unsigned i = 0; i < s->params.nodeset.len; i++) {
        struct seq_node *n = &s->nodes[i];
        LIST_FOREACH_SAFE(l, next, &n->sends)
        {
            send_free(CONTAINER_OF(l, struct send, link));
        }
        loglet_call_cancel(&n->probe);
        env_timer_cancel(s->calls->env, &n->resume);
    }
    while (!list_empty(&s->waves))
        wave_free(s, CONTAINER_OF(s->waves.next, struct wave, link));
    free(s->nodes);
    free(s);
}

size_t sequencer_room(const struct sequencer *s, const struct bytes *records, size_t n)
{
    if (s->sealed || s->draining)
        return 0;
    uint64_t inflight = s->next - s->committed;
    size_t limit = inflight >= s->config.window_records ? 0 : s->config.window_records - (size_t)inflight;
    limit = MIN(limit, MIN(n, (size_t)LOGLET_RECORDS_MAX));
    size_t fits = 0, bytes = 0;
    while (fits < limit && s->next + fits < LOGLET_OFFSET_MAX) {
        bytes += records[fits].len;
        bool first_of_wave = fits == 0, alone = list_empty(&s->waves);
        if ((!first_of_wave && bytes > WAVE_BYTES) ||
            (!(first_of_wave && alone) && s->inflight_bytes + bytes > s->config.window_bytes))
            break;
        fits++;
    }
    return fits;
}

uint64_t sequencer_append(struct sequencer *s, const struct bytes *records, size_t n)
{
    ASSERT(n > 0 && n <= LOGLET_RECORDS_MAX && !s->sealed && !s->draining);
    struct wave *w = xcalloc(1, sizeof(*w) + n * sizeof(*records));
    w->first = s->next;
    w->n = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        w->records[i] = bytes_ref(records[i]);
        w->bytes += records[i].len;
    }
    if (list_empty(&s->waves))
        s->progress_ms = env_mono_ms(s->calls->env);
    list_push_back(&s->waves, &w->link);
    s->next += n;
    s->inflight_bytes += w->bytes;
    pump_all(s);
    return w->first;
}

uint64_t sequencer_committed_tail(const struct sequencer *s)
{
    return s->committed;
}

uint64_t sequencer_next_offset(const struct sequencer *s)
{
    return s->next;
}

bool sequencer_sealed(const struct sequencer *s)
{
    return s->sealed;
}

uint64_t sequencer_stalled_since_ms(const struct sequencer *s)
{
    return list_empty(&s->waves) ? 0 : MAX(s->progress_ms, UINT64_C(1));
}

bool sequencer_writable(const struct sequencer *s)
{
    return quorum_is_write(&s->quorum, s->quorum.writable);
}

unsigned sequencer_lost_members(const struct sequencer *s)
{
    return marks_count(s->lost);
}

unsigned sequencer_sealed_members(const struct sequencer *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->params.nodeset.len; i++)
        n += s->nodes[i].sealed;
    return n;
}

void sequencer_drain(struct sequencer *s, void (*done)(void *ctx), void *ctx)
{
    s->draining = true;
    s->drain_done = done;
    s->drain_ctx = ctx;
    if (list_empty(&s->waves))
        env_defer(s->calls->env, &s->drained);
}
