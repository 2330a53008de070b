/* A linear search that cidr_find() must agree with, for its unit test and its fuzzer. */
#ifndef PREFORKD_TESTS_CIDR_SEARCH_H
#define PREFORKD_TESTS_CIDR_SEARCH_H

#include "../../src/config/access_list.h"

static inline enum cidr_verdict cidr_search(const struct block *blocks, int count,
                                            const struct addr_number *number)
{
    enum cidr_verdict verdict = CIDR_NONE;
    int longest = -1;
    for (int i = 0; i < count; i++) {
        struct addr_number first = addr_mask(*number, blocks[i].bits);
        if (blocks[i].first.family != number->family || blocks[i].bits < longest ||
            addr_compare(&first, &blocks[i].first) != 0)
            continue;
        if (blocks[i].bits > longest || blocks[i].verdict > verdict)
            verdict = blocks[i].verdict;
        longest = blocks[i].bits;
    }
    return verdict;
}

#endif
