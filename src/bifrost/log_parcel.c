/* Messages between loops of one process: see log_parcel.h. */
#include "bifrost/log_parcel.h"

#include <stdlib.h>

#define KEEP_ITEMS 4096u /* larger arrays are not kept for the next use */

struct log_parcel *log_parcel_new(struct log_port *port)
{
    struct log_parcel *p = xcalloc(1, sizeof(*p));
    list_init(&p->link);
    p->port = port;
    return p;
}

void log_parcel_free(struct log_parcel *p)
{
    log_parcel_clear(p);
    VEC_FREE(&p->messages);
    VEC_FREE(&p->records);
    VEC_FREE(&p->ranges);
    free(p);
}

void log_parcel_add(struct log_parcel *p, const struct loglet_message *m)
{
    VEC_PUSH(&p->messages, ((struct log_parcel_item){*m, p->records.len, p->ranges.len}));
    for (uint32_t i = 0; i < m->n_records; i++)
        VEC_PUSH(&p->records, bytes_ref(m->records[i]));
    for (uint32_t i = 0; i < m->n_ranges; i++)
        VEC_PUSH(&p->ranges, m->ranges[i]);
}

struct loglet_message log_parcel_get(const struct log_parcel *p, size_t i)
{
    ASSERT(i < p->messages.len);
    const struct log_parcel_item *item = &p->messages.items[i];
    struct loglet_message m = item->message;
    m.records = m.n_records ? p->records.items + item->first_record : NULL;
    m.ranges = m.n_ranges ? p->ranges.items + item->first_range : NULL;
    return m;
}

void log_parcel_clear(struct log_parcel *p)
{
    for (size_t i = 0; i < p->records.len; i++)
        bytes_unref(&p->records.items[i]);
    p->messages.len = p->records.len = p->ranges.len = 0;
    p->space_again = false;
    if (p->messages.cap > KEEP_ITEMS)
        VEC_FREE(&p->messages);
    if (p->records.cap > KEEP_ITEMS)
        VEC_FREE(&p->records);
    if (p->ranges.cap > KEEP_ITEMS)
        VEC_FREE(&p->ranges);
}
