/* Type numbers of FlexBuffers (spec/restatectl.md §7.3), shared by its reader and its writer. */
#pragma once
#include "wire/flexbuffers.h"

enum flex_type {
    FLEX_T_NULL = 0,
    FLEX_T_INT = 1,
    FLEX_T_UINT = 2,
    FLEX_T_FLOAT = 3,
    FLEX_T_KEY = 4,
    FLEX_T_STRING = 5,
    FLEX_T_INDIRECT_INT = 6,
    FLEX_T_INDIRECT_UINT = 7,
    FLEX_T_INDIRECT_FLOAT = 8,
    FLEX_T_MAP = 9,
    FLEX_T_VECTOR = 10,
    FLEX_T_VECTOR_INT = 11, /* 11..15: int, uint, float, key, string */
    FLEX_T_VECTOR_KEY = 14,
    FLEX_T_VECTOR_STRING = 15,
    FLEX_T_VECTOR_INT2 = 16, /* 16..24: two, three, four elements of int, uint, float */
    FLEX_T_BLOB = 25,
    FLEX_T_BOOL = 26,
    FLEX_T_VECTOR_BOOL = 36,
};

static inline bool flex_type_is_inline(unsigned type)
{
    return type <= FLEX_T_FLOAT || type == FLEX_T_BOOL;
}
