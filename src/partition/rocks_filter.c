/* Space of expired invocations returns when RocksDB compacts: the filter drops packed invocations whose
 * retention is over and cuts off journals whose retention is over. Only durable time counts: a crash must not
 * go back to before a value vanished. */
#include "partition/rocks_internal.h"

void watermark_set(struct watermarks *w, uint16_t partition_id, uint64_t time_ms)
{
    _Atomic(_Atomic uint64_t *) *slot = &w->pages[partition_id >> 8];
    _Atomic uint64_t *page = atomic_load_explicit(slot, memory_order_acquire);
    if (!page) {
        _Atomic uint64_t *fresh = xcalloc(256, sizeof(*fresh));
        if (atomic_compare_exchange_strong(slot, &page, fresh))
            page = fresh;
        else
            free((void *)fresh);
    }
    atomic_store_explicit(&page[partition_id & 255], time_ms, memory_order_relaxed);
}

uint64_t watermark_get(struct watermarks *w, uint16_t partition_id)
{
    _Atomic uint64_t *page = atomic_load_explicit(&w->pages[partition_id >> 8], memory_order_acquire);
    return page ? atomic_load_explicit(&page[partition_id & 255], memory_order_relaxed) : 0;
}

void watermarks_free(struct watermarks *w)
{
    for (size_t i = 0; i < ARRAY_LEN(w->pages); i++)
        free((void *)atomic_load(&w->pages[i]));
}

/* RocksDB copies the changed value right after the call, but does not free it: one buffer per compaction
 * thread. */
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_init(void)
{
    int rc = pthread_key_create(&scratch_key, free);
    ASSERT(rc == 0);
}

struct scratch {
    size_t cap;
    char data[];
};

static char *scratch(size_t size)
{
    pthread_once(&scratch_once, scratch_init);
    struct scratch *s = pthread_getspecific(scratch_key);
    if (!s || s->cap < size) {
        s = xrealloc(s, sizeof(*s) + size);
        s->cap = size;
        pthread_setspecific(scratch_key, s);
    }
    return s->data;
}

static unsigned char filter(void *state, int level, const char *key, size_t key_len, const char *value,
                            size_t value_len, char **new_value, size_t *new_value_len,
                            unsigned char *value_changed)
{
    *value_changed = 0;
    if (key_len < STORE_KEY_PREFIX || key[2] != TABLE_INVOCATION)
        return 0;
    uint64_t mark = watermark_get(state, get_u16be((const uint8_t *)key));
    size_t cut;
    enum row_fate fate = stored_fate(slice_make(key, key_len), slice_make(value, value_len), mark, &cut);
    if (fate == ROW_CUT) {
        char *out = scratch(cut);
        memcpy(out, value, cut);
        out[2] |= STORED_JOURNAL_GONE;
        *new_value = out;
        *new_value_len = cut;
        *value_changed = 1;
    }
    return fate == ROW_DROP;
}

static void filter_destroy(void *state) {}

static const char *filter_name(void *state)
{
    return "restate.expiry";
}

rocksdb_compactionfilter_t *rocks_filter_new(struct watermarks *w)
{
    rocksdb_compactionfilter_t *f = rocksdb_compactionfilter_create(w, filter_destroy, filter, filter_name);
    rocksdb_compactionfilter_set_ignore_snapshots(f, 1);
    return f;
}
