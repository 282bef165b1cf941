/* What nodes send each other for scans: requests and rows are read without leaving their bytes, and a request
 * that decodes is written again as it was and has a plan. */
#include <stdlib.h>

#include "query/remote.h"
#include "query/row_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_make(data, size);
    struct scan_request r, again;
    if (scan_request_decode(in, &r)) {
        struct writer w = WRITER_INIT;
        struct sql_plan plan;
        scan_request_encode(&w, &r);
        ASSERT(scan_request_decode(writer_slice(&w), &again));
        ASSERT(again.table == r.table && again.used == r.used && slice_eq(again.key, r.key));
        scan_request_plan(&plan, &r);
        ASSERT(plan.n_columns == sql_tables[r.table].n_columns);
        sql_plan_free(&plan);
        writer_free(&w);
    }
    struct reader rows = reader_make(in);
    struct sql_value values[7];
    while (row_read(&rows, values, 7))
        for (size_t i = 0; i < 7; i++)
            ASSERT(!values[i].bytes.len ||
                   (values[i].bytes.ptr >= data && values[i].bytes.ptr + values[i].bytes.len <= data + size));
    return 0;
}
