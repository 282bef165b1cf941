/* The little of XML that S3 answers with: elements and text, no attributes, no DTD. Pure; the input is
 * hostile.
 */
#pragma once
#include "base/codec.h"
#include "objects/object_store.h"

enum xml_event { XML_START, XML_END, XML_TEXT, XML_EOF, XML_BAD };
struct xml_reader {
    struct slice input;
    size_t pos;
    bool pending_end;  /* of <Empty/> */
    struct slice name; /* of the element at START and END, without a namespace prefix */
    struct slice text; /* at TEXT, as it stands: xml_unescape */
};
enum xml_event xml_next(struct xml_reader *r);
/* Unknown entities stay as they are. */
void xml_unescape(struct slice text, struct writer *out);

/* The first element of this name, wherever it is; false: there is none or it has elements inside. The text is
 * cut off at `cap` - 1. */
bool xml_find(struct slice document, const char *name, char *out, size_t cap);

struct s3_list_page {
    bool truncated;
    char next_token[2048]; /* of the next page */
};
/* ListBucketResult (version 2): adds to op->listed. RC_CORRUPT. */
enum rc s3_list_parse(struct slice document, struct object_op *op, struct s3_list_page *page,
                      struct err *err);
