/* Rows of what limits scopes: counters and lines of a partition, taken along whole from its loop
 * (query/source.h; spec/sql.md §3.13). */
#include <stdio.h>

#include "partition/limits.h"
#include "query/source.h"
#include "query/types.h"

#define ROWS_MAX 20000u /* of one partition: its loop does nothing else meanwhile */

static const char *const level_names[] = {"Scope", "Level1", "Level2"};
static const char *const blocked_levels[] = {"scope", "level1", "level2"};

static void put_counter(void *ctx, const struct limit_counter *c)
{
    struct row_set *s = ctx;
    if (s->rows >= ROWS_MAX)
        return;
    row_int(s, u64_to_key(partition_key_of_key(c->address.scope)));
    row_text(s, c->address.scope);
    row_text(s, c->address.l1);
    row_text(s, c->address.l2);
    row_fmt(s, "%s", level_names[c->level]);
    row_int(s, c->usage);
    if (c->limit == NO_LIMIT)
        row_null(s);
    else
        row_int(s, c->limit);
    row_text(s, c->pattern);
    if (c->limit == NO_LIMIT)
        row_null(s);
    else
        row_int(s, c->limit > c->usage ? c->limit - c->usage : 0);
    row_int(s, (int64_t)c->waiting);
    row_end(s);
}

static void write_limit_key(struct writer *w, const struct limit_address *a)
{
    write_slice_raw(w, a->l1);
    if (a->l2.ptr)
        write_u8(w, '/');
    write_slice_raw(w, a->l2);
}

static void put_queue_id(struct row_set *s, const struct limit_address *a)
{
    char text[QUEUE_ID_TEXT + 1];
    queue_id_format(limits_queue_id(a), text);
    row_fmt(s, "%s", text);
}

static void put_blocked(struct row_set *s, const struct limit_line *line)
{
    struct writer w = WRITER_INIT;
    if (!line->blocked) {
        row_null(s);
        row_null(s);
        return;
    }
    write_fmt(&w, "{\"resource\":\"limit-key-concurrency\",\"scope\":\"%.*s\",\"limit_key\":\"",
              SLICE_FMT(line->address.scope));
    write_limit_key(&w, &line->address);
    write_fmt(&w, "\",\"blocked_level\":\"%s\",\"blocked_rule\":\"%.*s\"}", blocked_levels[line->level],
              SLICE_FMT(line->pattern));
    row_fmt(s, "limit-key-concurrency");
    row_text(s, writer_slice(&w));
    writer_free(&w);
}

static void put_line(void *ctx, const struct limit_line *line)
{
    struct row_set *s = ctx;
    char head[INVOCATION_ID_TEXT + 1];
    if (s->rows >= ROWS_MAX)
        return;
    invocation_id_format(line->head, head);
    row_int(s, u64_to_key(partition_key_of_key(line->address.scope)));
    put_queue_id(s, &line->address);
    row_int(s, (int64_t)line->waiting);
    row_fmt(s, line->blocked ? "blocked" : "ready");
    row_fmt(s, "%s", head);
    row_null(s);
    put_blocked(s, line);
    for (int durations = 0; durations < 7; durations++)
        row_null(s); /* for how long is not kept */
    row_end(s);
}

static void put_paused(void *ctx, struct invocation_id queue)
{
    struct row_set *s = ctx;
    uint8_t raw[INVOCATION_ID_BYTES];
    invocation_id_to_bytes(queue, raw);
    write_raw(&s->bytes, raw, sizeof(raw));
}

void limit_rows(struct row_set *out, enum sql_table_id table, const struct partition_store *store)
{
    if (table == TABLE_SYS_VQUEUE_META)
        limits_visit_paused(store_limits(store), put_paused, out);
    else if (table == TABLE_SYS_USER_LIMITS)
        limits_visit_counters(store_limits(store), put_counter, out);
    else
        limits_visit_lines(store_limits(store), put_line, out);
}
