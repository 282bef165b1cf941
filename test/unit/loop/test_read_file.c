/* Whole files: exactly up to the limit, larger ones, none, and what is no file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/read_file.h"

#define SIZE 40000u

static void files(void **state)
{
    char path[] = "/tmp/read-file-XXXXXX", *content = malloc(SIZE);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (char)(i * 31 >> 3);
    struct bytes got = BYTES_EMPTY;
    struct err err = {0};
    assert_int_equal(read_file(path, SIZE, &got, &err), RC_OK);
    assert_int_equal(got.len, 0);
    bytes_unref(&got);
    assert_int_equal(write(fd, content, SIZE), SIZE);
    close(fd);
    assert_int_equal(read_file(path, SIZE, &got, &err), RC_OK);
    assert_true(slice_eq(bytes_slice(got), slice_make(content, SIZE)));
    bytes_unref(&got);
    assert_int_equal(read_file(path, SIZE - 1, &got, &err), RC_TOO_LARGE);
    assert_non_null(strstr(err.msg, path));
    unlink(path);
    assert_int_equal(read_file(path, SIZE, &got, &err), RC_NOT_FOUND);
    assert_int_equal(read_file("/tmp", SIZE, &got, NULL), RC_IO);
    free(content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
