/* What an object store and the services around it answer, and what users write down: no crash; what was
 * listed are valid keys; what was parsed is terminated. */
#include <stdlib.h>

#include "objects/aws_credentials.h"
#include "objects/object_url.h"
#include "objects/s3_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct err err = {0};
    struct object_op op = {0};
    struct s3_list_page page;
    if (s3_list_parse(text, &op, &page, &err) == RC_OK)
        ASSERT(!page.truncated || page.next_token[0]);
    for (size_t i = 0; i < op.listed.len; i++)
        ASSERT(object_key_is_valid(op.listed.items[i].key));
    object_op_release(&op);
    char code[32];
    if (xml_find(text, "Code", code, sizeof(code)))
        ASSERT(strlen(code) < sizeof(code));
    static struct aws_profile profile;
    profile = (struct aws_profile){0};
    aws_profile_read(text, "default", size % 2, &profile);
    ASSERT(strlen(profile.credentials.session_token) < sizeof(profile.credentials.session_token));
    static struct aws_credentials credentials;
    if (aws_credentials_parse(text, &credentials, &err) == RC_OK)
        ASSERT(credentials.access_key_id[0] && credentials.secret_access_key[0]);
    struct object_url url;
    if (object_url_parse(text, &url, &err) == RC_OK && url.scheme == OBJECT_URL_S3)
        ASSERT(url.bucket[0] && (!url.prefix[0] || object_key_is_valid(url.prefix)));
    return 0;
}
