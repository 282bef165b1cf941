/* Implementation of partition/snapshot_manifest.h. Numbers go up to 2^64 - 1 (key ranges, fingerprints),
 * which is why there is a small reader of JSON here. */
#include "partition/snapshot_manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/calendar.h"
#include "base/hash.h"
#include "base/time.h"
#include "objects/object_store.h"
#include "partition/snapshot.h"

#define JSON_DEPTH_MAX 32
#define FILES_MAX      100000u

/* ---- names and times ---- */

void snapshot_ref_make(struct snapshot_ref *r, struct u128 id, lsn_t lsn, uint64_t wall_ms)
{
    *r = (struct snapshot_ref){.lsn = lsn};
    resource_id_format(RESOURCE_SNAPSHOT, id, r->id);
    snprintf(r->path, sizeof(r->path), "lsn_%020" PRIu64 "-%s", lsn, r->id);
    struct writer w = WRITER_INIT;
    time_format_rfc3339(&w, wall_ms * 1000, 3, "Z");
    snprintf(r->created_at, sizeof(r->created_at), "%.*s", SLICE_FMT(writer_slice(&w)));
    writer_free(&w);
}

bool snapshot_path_lsn(struct slice path, lsn_t *lsn)
{
    if (path.len < 26 || memcmp(path.ptr, "lsn_", 4) != 0 || path.ptr[24] != '-')
        return false;
    lsn_t v = 0;
    for (size_t i = 4; i < 24; i++) {
        unsigned digit = path.ptr[i] - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *lsn = v;
    return true;
}

uint64_t snapshot_time_parse(const char *text)
{
    int y, mo, d, h, mi, s, n = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &y, &mo, &d, &h, &mi, &s, &n) != 6 || y < 1970 || mo < 1 ||
        mo > 12 || d < 1 || d > 31 || h < 0 || h > 23 || mi < 0 || mi > 59 || s < 0 || s > 60)
        return 0;
    uint64_t ms = 0, unit = 100;
    if (text[n] == '.') {
        for (n++; text[n] >= '0' && text[n] <= '9'; n++, unit /= 10)
            ms += (uint64_t)(text[n] - '0') * unit;
    }
    if (strcmp(text + n, "Z") != 0 && strcmp(text + n, "+00:00") != 0)
        return 0;
    uint64_t days = (uint64_t)calendar_days(y, (unsigned)mo, (unsigned)d);
    return (((days * 24 + (uint64_t)h) * 60 + (uint64_t)mi) * 60 + (uint64_t)s) * 1000 + ms;
}

/* ---- reading JSON ---- */

struct json {
    const uint8_t *p, *end;
    bool failed;
};

static void skip_blanks(struct json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
        j->p++;
}

static bool fail(struct json *j)
{
    j->failed = true;
    j->p = j->end;
    return false;
}

/* The next character that is not blank, 0 at the end. */
static char peek(struct json *j)
{
    skip_blanks(j);
    return j->p < j->end ? (char)*j->p : 0;
}

static bool take(struct json *j, char c)
{
    if (peek(j) != c)
        return fail(j);
    j->p++;
    return true;
}

static void put_utf8(char *out, size_t cap, size_t *n, uint32_t c)
{
    uint8_t b[4];
    size_t len = utf8_encode(c, b);
    for (size_t i = 0; i < len; i++, ++*n) {
        if (*n + 1 < cap)
            out[*n] = (char)b[i];
    }
}

static uint32_t read_hex4(struct json *j)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(j->p < j->end ? (uint8_t)*j->p++ : 0);
        if (digit < 0) {
            fail(j);
            return 0;
        }
        v = v << 4 | (uint32_t)digit;
    }
    return v;
}

static uint32_t read_escape(struct json *j)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = j->p < j->end ? (char)*j->p++ : 0;
    const char *at = c ? strchr(from, c) : NULL;
    if (at)
        return (uint8_t)to[at - from];
    if (c != 'u') {
        fail(j);
        return 0;
    }
    uint32_t v = read_hex4(j);
    if (v < 0xd800 || v > 0xdfff)
        return v;
    if (v > 0xdbff || j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u') {
        fail(j);
        return 0;
    }
    j->p += 2;
    uint32_t low = read_hex4(j);
    if (low < 0xdc00 || low > 0xdfff)
        fail(j);
    return 0x10000 + ((v - 0xd800) << 10) + ((low - 0xdc00) & 0x3ff);
}

/* Into out[cap] with NUL; too long or with a NUL inside: malformed. `out` NULL: skip. */
static void read_text(struct json *j, char *out, size_t cap)
{
    size_t n = 0;
    if (!take(j, '"'))
        return;
    while (j->p < j->end && *j->p != '"' && !j->failed) {
        uint8_t c = *j->p++;
        if (c < 0x20) {
            fail(j);
        } else if (c == '\\') {
            uint32_t v = read_escape(j);
            if (v == 0)
                fail(j);
            put_utf8(out, out ? cap : 0, &n, v);
        } else if (n++ + 1 < cap && out) {
            out[n - 1] = (char)c;
        }
    }
    if (j->p == j->end || (out && n >= cap)) {
        fail(j);
        return;
    }
    j->p++;
    if (out)
        out[n] = 0;
    if (out && !slice_is_utf8(slice_cstr(out)))
        fail(j);
}

static uint64_t read_u64(struct json *j)
{
    uint64_t v = 0;
    char first = peek(j);
    if (first < '0' || first > '9')
        fail(j);
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9') {
        unsigned digit = *j->p++ - '0';
        if (v > (UINT64_MAX - digit) / 10)
            fail(j);
        else
            v = v * 10 + digit;
    }
    return v;
}

/* Numbers of other forms, true, false, null. */
static void skip_word(struct json *j)
{
    const uint8_t *start = j->p;
    while (j->p < j->end && (*j->p == '-' || *j->p == '+' || *j->p == '.' || (*j->p >= '0' && *j->p <= '9') ||
                             (*j->p >= 'A' && *j->p <= 'z')))
        j->p++;
    if (j->p == start)
        fail(j);
}

static bool json_null(struct json *j)
{
    if (peek(j) != 'n')
        return false;
    skip_word(j);
    return true;
}

static void skip_value(struct json *j, int depth)
{
    char c = peek(j), close = c == '{' ? '}' : ']';
    if (c == '"') {
        read_text(j, NULL, 0);
        return;
    }
    if (c != '{' && c != '[') {
        skip_word(j);
        return;
    }
    if (depth >= JSON_DEPTH_MAX) {
        fail(j);
        return;
    }
    j->p++;
    for (bool first = true; !j->failed && peek(j) != close; first = false) {
        if (!first && !take(j, ','))
            return;
        if (c == '{') {
            read_text(j, NULL, 0);
            take(j, ':');
        }
        skip_value(j, depth + 1);
    }
    take(j, close);
}

/* Iterate: `for (bool first = true; next_member(&j, &first, key);)`. The opening brace was taken. */
static bool next_member(struct json *j, bool *first, char key[48])
{
    if (j->failed)
        return false;
    if (peek(j) == '}') {
        j->p++;
        return false;
    }
    if (!*first && !take(j, ','))
        return false;
    *first = false;
    /* An unknown key may be of any length. */
    struct json before = *j;
    read_text(j, key, 48);
    if (j->failed) {
        *j = before;
        read_text(j, NULL, 0);
        key[0] = 0;
    }
    return take(j, ':');
}

static bool next_element(struct json *j, bool *first)
{
    if (j->failed)
        return false;
    if (peek(j) == ']') {
        j->p++;
        return false;
    }
    if (!*first && !take(j, ','))
        return false;
    *first = false;
    return true;
}

static bool at_end(struct json *j)
{
    return !j->failed && peek(j) == 0 && j->p == j->end;
}

/* ---- what the documents share ---- */

static bool read_owner(struct json *j, const char *key, struct snapshot_owner *o)
{
    if (strcmp(key, "partition_id") == 0) {
        uint64_t v = read_u64(j);
        if (v > UINT16_MAX)
            fail(j);
        o->partition_id = (uint16_t)v;
    } else if (strcmp(key, "log_id") == 0) {
        uint64_t v = read_u64(j);
        if (v > UINT32_MAX)
            fail(j);
        o->log_id = (uint32_t)v;
    } else if (strcmp(key, "cluster_name") == 0) {
        read_text(j, o->cluster_name, sizeof(o->cluster_name));
    } else if (strcmp(key, "node_name") == 0) {
        read_text(j, o->node_name, sizeof(o->node_name));
    } else if (strcmp(key, "cluster_fingerprint") == 0) {
        o->fingerprint = json_null(j) ? 0 : read_u64(j);
    } else {
        return false;
    }
    return true;
}

static bool read_ref(struct json *j, const char *key, struct snapshot_ref *r)
{
    if (strcmp(key, "snapshot_id") == 0)
        read_text(j, r->id, sizeof(r->id));
    else if (strcmp(key, "min_applied_lsn") == 0)
        r->lsn = read_u64(j);
    else if (strcmp(key, "created_at") == 0)
        read_text(j, r->created_at, sizeof(r->created_at));
    else if (strcmp(key, "path") == 0)
        read_text(j, r->path, sizeof(r->path));
    else
        return false;
    return true;
}

static bool path_is_sound(const struct snapshot_ref *r)
{
    return object_key_is_valid(r->path) && !strchr(r->path, '/');
}

static void write_text(struct writer *w, const char *indent, const char *key, const char *text)
{
    write_fmt(w, "%s\"%s\": ", indent, key);
    write_json_string(w, slice_cstr(text));
    write_raw(w, ",\n", 2);
}

static void write_fingerprint(struct writer *w, uint64_t fingerprint)
{
    if (fingerprint)
        write_fmt(w, "  \"cluster_fingerprint\": %" PRIu64 ",\n", fingerprint);
    else
        write_fmt(w, "  \"cluster_fingerprint\": null,\n");
}

static enum rc check_version(const char *version, const char *const *known, const char *what, struct err *err)
{
    if (!version[0])
        return err_set(err, RC_CORRUPT, "%s is damaged: it has no version", what);
    for (; *known; known++) {
        if (strcmp(version, *known) == 0)
            return RC_OK;
    }
    return err_set(err, RC_UNSUPPORTED, "%s has version %s, which this server does not know", what, version);
}

/* ---- latest.json ---- */

void snapshot_latest_encode(struct writer *w, const struct snapshot_latest *l)
{
    const struct snapshot_ref *r = &l->retained.items[0];
    write_fmt(w, "{\n  \"version\": \"V2\",\n  \"partition_id\": %u,\n  \"log_id\": %u,\n",
              l->owner.partition_id, l->owner.log_id);
    write_text(w, "  ", "cluster_name", l->owner.cluster_name);
    write_fingerprint(w, l->owner.fingerprint);
    write_text(w, "  ", "node_name", l->owner.node_name);
    write_text(w, "  ", "created_at", r->created_at);
    write_text(w, "  ", "snapshot_id", r->id);
    write_fmt(w, "  \"min_applied_lsn\": %" PRIu64 ",\n", r->lsn);
    write_text(w, "  ", "path", r->path);
    write_fmt(w, "  \"retained_snapshots\": [");
    for (size_t i = 0; i < l->retained.len; i++) {
        r = &l->retained.items[i];
        write_fmt(w, "%s\n    {\n", i ? "," : "");
        write_text(w, "      ", "snapshot_id", r->id);
        write_fmt(w, "      \"min_applied_lsn\": %" PRIu64 ",\n", r->lsn);
        write_text(w, "      ", "created_at", r->created_at);
        write_fmt(w, "      \"path\": ");
        write_json_string(w, slice_cstr(r->path));
        write_fmt(w, "\n    }");
    }
    write_fmt(w, "\n  ]\n}");
}

static void read_retained(struct json *j, struct snapshot_latest *l)
{
    take(j, '[');
    for (bool first = true; next_element(j, &first);) {
        struct snapshot_ref r = {0};
        char key[48];
        take(j, '{');
        for (bool first_key = true; next_member(j, &first_key, key);) {
            if (!read_ref(j, key, &r))
                skip_value(j, 0);
        }
        if (!path_is_sound(&r) || l->retained.len >= 1000)
            fail(j);
        else
            VEC_PUSH(&l->retained, r);
    }
}

static int newest_first(const void *a, const void *b)
{
    const struct snapshot_ref *x = a, *y = b;
    return x->lsn > y->lsn ? -1 : x->lsn < y->lsn;
}

enum rc snapshot_latest_decode(struct slice text, struct snapshot_latest *out, struct err *err)
{
    static const char *const versions[] = {"V1", "V2", NULL};
    *out = (struct snapshot_latest){0};
    struct json j = {text.ptr, text.ptr + text.len, text.len == 0};
    struct snapshot_ref current = {0};
    char key[48], version[16] = "";
    take(&j, '{');
    for (bool first = true; next_member(&j, &first, key);) {
        if (strcmp(key, "version") == 0)
            read_text(&j, version, sizeof(version));
        else if (strcmp(key, "retained_snapshots") == 0)
            read_retained(&j, out);
        else if (!read_owner(&j, key, &out->owner) && !read_ref(&j, key, &current))
            skip_value(&j, 0);
    }
    bool sound = at_end(&j);
    enum rc rc = sound ? check_version(version, versions, "latest.json", err) : RC_CORRUPT;
    if (rc == RC_OK && (!path_is_sound(&current) || !current.id[0]))
        sound = false;
    if (!sound)
        rc = err_set(err, RC_CORRUPT, "latest.json is damaged");
    bool listed = false;
    for (size_t i = 0; i < out->retained.len; i++)
        listed = listed || strcmp(out->retained.items[i].path, current.path) == 0;
    if (rc == RC_OK && !listed)
        VEC_PUSH(&out->retained, current);
    if (rc == RC_OK)
        qsort(out->retained.items, out->retained.len, sizeof(*out->retained.items), newest_first);
    else
        snapshot_latest_free(out);
    return rc;
}

void snapshot_latest_free(struct snapshot_latest *l)
{
    VEC_FREE(&l->retained);
}

/* ---- metadata.json ---- */

static void write_file_entry(struct writer *w, const struct snapshot_file_entry *f)
{
    write_fmt(w, "    {\n");
    write_text(w, "      ", "column_family_name", "");
    write_text(w, "      ", "name", f->name);
    write_text(w, "      ", "directory", "");
    write_fmt(w, "      \"size\": %" PRIu64 ",\n      \"level\": 0,\n", f->size);
    write_text(w, "      ", "start_key", f->start_key ? f->start_key : "");
    write_text(w, "      ", "end_key", f->end_key ? f->end_key : "");
    write_fmt(w,
              "      \"smallest_seqno\": 0,\n      \"largest_seqno\": 0,\n      \"num_entries\": %" PRIu64
              ",\n      \"num_deletions\": 0,\n      \"xxh3\": \"%016" PRIx64 "\"\n    }",
              f->rows, f->checksum);
}

void snapshot_metadata_encode(struct writer *w, const struct snapshot_metadata *m)
{
    write_fmt(w, "{\n  \"version\": \"V1\",\n");
    write_text(w, "  ", "cluster_name", m->owner.cluster_name);
    write_fingerprint(w, m->owner.fingerprint);
    write_fmt(w, "  \"partition_id\": %u,\n", m->owner.partition_id);
    write_text(w, "  ", "node_name", m->owner.node_name);
    write_text(w, "  ", "created_at", m->ref.created_at);
    write_text(w, "  ", "snapshot_id", m->ref.id);
    write_fmt(w, "  \"key_range\": {\n    \"start\": %" PRIu64 ",\n    \"end\": %" PRIu64 "\n  },\n",
              m->key_start, m->key_end);
    write_fmt(w, "  \"log_id\": %u,\n  \"min_applied_lsn\": %" PRIu64 ",\n", m->owner.log_id, m->ref.lsn);
    write_text(w, "  ", "db_comparator_name", m->comparator);
    write_fmt(w, "  \"files\": [");
    for (size_t i = 0; i < m->files.len; i++) {
        write_fmt(w, "%s\n", i ? "," : "");
        write_file_entry(w, &m->files.items[i]);
    }
    write_fmt(w, "\n  ]\n}");
}

static void read_checksum(struct json *j, uint64_t *out)
{
    char text[24] = "";
    uint8_t raw[8];
    read_text(j, text, sizeof(text));
    if (strlen(text) != 16 || !hex_decode(slice_cstr(text), raw))
        fail(j);
    else
        *out = get_u64be(raw);
}

static void read_file_entry(struct json *j, struct snapshot_file_entry *f)
{
    char key[48];
    bool has_size = false, has_sum = false;
    take(j, '{');
    for (bool first = true; next_member(j, &first, key);) {
        if (strcmp(key, "name") == 0) {
            read_text(j, f->name, sizeof(f->name));
        } else if (strcmp(key, "size") == 0) {
            f->size = read_u64(j);
            has_size = true;
        } else if (strcmp(key, "num_entries") == 0) {
            f->rows = read_u64(j);
        } else if (strcmp(key, "xxh3") == 0) {
            read_checksum(j, &f->checksum);
            has_sum = true;
        } else {
            skip_value(j, 0);
        }
    }
    if (!has_size || !has_sum || f->name[0] != '/' || !object_key_is_valid(f->name + 1) ||
        strchr(f->name + 1, '/'))
        fail(j);
}

static void read_key_range(struct json *j, struct snapshot_metadata *m)
{
    char key[48];
    take(j, '{');
    for (bool first = true; next_member(j, &first, key);) {
        if (strcmp(key, "start") == 0)
            m->key_start = read_u64(j);
        else if (strcmp(key, "end") == 0)
            m->key_end = read_u64(j);
        else
            skip_value(j, 0);
    }
}

/* Entries of another implementation have other fields: the comparator is known only at the end, so the list
 * is read in a second pass. */
static void read_files(struct json *j, struct snapshot_metadata *m)
{
    take(j, '[');
    for (bool first = true; next_element(j, &first);) {
        struct snapshot_file_entry f = {0};
        read_file_entry(j, &f);
        if (m->files.len >= FILES_MAX)
            fail(j);
        if (!j->failed)
            VEC_PUSH(&m->files, f);
    }
}

enum rc snapshot_metadata_decode(struct slice text, struct snapshot_metadata *out, struct err *err)
{
    static const char *const versions[] = {"V1", NULL};
    *out = (struct snapshot_metadata){0};
    struct json j = {text.ptr, text.ptr + text.len, text.len == 0}, files = {0};
    char key[48], version[16] = "";
    take(&j, '{');
    for (bool first = true; next_member(&j, &first, key);) {
        if (strcmp(key, "version") == 0) {
            read_text(&j, version, sizeof(version));
        } else if (strcmp(key, "key_range") == 0) {
            read_key_range(&j, out);
        } else if (strcmp(key, "db_comparator_name") == 0) {
            read_text(&j, out->comparator, sizeof(out->comparator));
        } else if (strcmp(key, "files") == 0) {
            files = j;
            skip_value(&j, 0);
        } else if (!read_owner(&j, key, &out->owner) && !read_ref(&j, key, &out->ref)) {
            skip_value(&j, 0);
        }
    }
    enum rc rc = at_end(&j) ? check_version(version, versions, "metadata.json", err)
                            : err_set(err, RC_CORRUPT, "metadata.json is damaged");
    if (rc == RC_OK && strcmp(out->comparator, SNAPSHOT_COMPARATOR) != 0)
        rc = err_set(err, RC_UNSUPPORTED,
                     "the snapshot's data files are in the format '%s' of another implementation or version; "
                     "this server imports '%s'",
                     out->comparator, SNAPSHOT_COMPARATOR);
    if (rc == RC_OK && files.p)
        read_files(&files, out);
    if (rc == RC_OK && (files.failed || out->files.len == 0))
        rc = err_set(err, RC_CORRUPT, "metadata.json is damaged: its list of files is not sound");
    if (rc != RC_OK)
        snapshot_metadata_free(out);
    return rc;
}

void snapshot_metadata_free(struct snapshot_metadata *m)
{
    for (size_t i = 0; i < m->files.len; i++) {
        free(m->files.items[i].start_key);
        free(m->files.items[i].end_key);
    }
    VEC_FREE(&m->files);
}
