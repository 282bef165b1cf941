/* The stored rule book: any bytes are decoded or refused; what was decoded is encoded and decodes to the
 * same, and partitions can read what they get of it. */
#include "metadata/rule_book.h"
#include "wire/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct rule_book book, again;
    struct err err = {0};
    if (rule_book_decode(&arena, slice_make(data, size), &book, &err) == RC_OK) {
        struct writer w = WRITER_INIT, w2 = WRITER_INIT, command = WRITER_INIT;
        struct cmd_rule_book c;
        rule_book_encode(&w, &book);
        ASSERT(rule_book_decode(&arena, writer_slice(&w), &again, &err) == RC_OK);
        rule_book_encode(&w2, &again);
        ASSERT(slice_eq(writer_slice(&w), writer_slice(&w2)));
        rule_book_command(&command, &book);
        struct reader r = reader_make(writer_slice(&command));
        ASSERT(cmd_rule_book_read(&r, &c) && reader_done(&r));
        writer_free(&w);
        writer_free(&w2);
        writer_free(&command);
    } else {
        ASSERT(err.msg[0]);
    }
    arena_free(&arena);
    return 0;
}
