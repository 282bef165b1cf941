/* What a server may answer restatectl: Arrow streams, cluster states, idents, stored documents. */
#include "ctl/ctl.h"
#include "tool/arrow.h"
#include "tool/document.h"

static void arrow(struct arena *a, struct slice in)
{
    struct arrow_reader r = {.arena = a};
    struct arrow_batch batch;
    struct writer w = WRITER_INIT;
    enum rc rc;
    size_t whole = arrow_message_size(in);
    if (whole && whole <= in.len) { /* a message that is all there is never asked for again */
        struct slice first = slice_sub(in, 0, whole);
        arrow_next(&r, &first, &batch, NULL);
        r = (struct arrow_reader){.arena = a};
    }
    do {
        size_t before = in.len;
        rc = arrow_next(&r, &in, &batch, NULL);
        if (rc == RC_AGAIN && in.len == before)
            break;
        for (size_t row = 0; rc == RC_OK && row < MIN(batch.rows, 100); row++)
            for (size_t i = 0; i < r.schema.n; i++)
                if (w.len < 1u << 20)
                    arrow_print(&w, &batch.columns[i], row, row % 2 != 0);
    } while (rc == RC_OK || rc == RC_AGAIN);
    writer_free(&w);
}

static void document(struct arena *a, struct slice in)
{
    struct doc *d, *back;
    struct writer w = WRITER_INIT;
    if (doc_decode(a, in, &d, NULL) == RC_OK) {
        doc_print(&w, d);
        writer_reset(&w);
        if (d->kind == DOC_MAP) {
            doc_encode(&w, d, 1);
            ASSERT(doc_decode(a, writer_slice(&w), &back, NULL) == RC_OK);
        }
        doc_patch(a, &d, d, NULL);
        struct doc *list = doc_member(d, SLICE_LIT("patch"));
        if (list)
            doc_patch(a, &d, doc_copy(a, list), NULL);
    }
    writer_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct command root = {.name = "tool", .help = "A tool"};
    struct cluster_state state;
    struct ident ident;
    struct cluster_config config;
    struct tool t;
    if (size < 1)
        return 0;
    tool_init(&t, &root, "1", NULL);
    struct bytes input = bytes_copy(slice_make(data + 1, size - 1));
    struct slice in = bytes_slice(input);
    switch (data[0] % 4) {
    case 0:
        arrow(&t.arena, in);
        break;
    case 1:
        document(&t.arena, in);
        break;
    case 2:
        cluster_state_decode(&t, in, &state);
        break;
    default:
        ident_decode(&t, in, &ident);
        cluster_config_decode(&t, in, &config);
        cluster_config_text(&t, &config);
        break;
    }
    bytes_unref(&input);
    tool_free(&t);
    return 0;
}
