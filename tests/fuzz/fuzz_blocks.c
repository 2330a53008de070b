/* Any lines as blocks, every second one denied: a block reads back to the same as it is printed,
 * and at the edges of each block the table agrees with a linear search. */
#include "fuzz.h"

#include "../unit/cidr_search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_MOST = 64, WORD_MOST = 100 };

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_printed(const struct block *block)
{
    char text[CIDR_TEXT];
    struct block again;
    must(cidr_read(&again, cidr_print(block, text)) == CIDR_GOOD);
    must(addr_compare(&again.first, &block->first) == 0 && again.bits == block->bits &&
         again.first.family == block->first.family);
}

static int read_blocks(const uint8_t *bytes, size_t size, struct block *blocks)
{
    int count = 0;
    while (size && count < BLOCKS_MOST) {
        char word[WORD_MOST];
        const uint8_t *end = memchr(bytes, '\n', size);
        size_t length = end ? (size_t)(end - bytes) : size, next = length + (end ? 1 : 0);
        snprintf(word, sizeof word, "%.*s", length < WORD_MOST ? (int)length : WORD_MOST - 1,
                 (const char *)bytes);
        enum cidr_fault fault = cidr_read(&blocks[count], word);
        if (fault == CIDR_GOOD || fault == CIDR_HOST_BITS) {
            check_printed(&blocks[count]);
            blocks[count].verdict = count % 2 ? CIDR_DENY : CIDR_ALLOW;
            count++;
        }
        bytes += next;
        size -= next;
    }
    return count;
}

/* The addresses around a block's first and last one. */
static void check_edges(const struct cidr_list *made, const struct block *blocks, int count,
                        const struct block *block)
{
    int low_bits = (block->first.family == AF_INET ? 32 : 128) - block->bits;
    struct addr_number number = block->first;
    for (int edge = 0; edge < 2; edge++) {
        for (int step = -1; step <= 1; step++) {
            struct addr_number near = number;
            near.low += (uint64_t)(int64_t)step;
            if (near.family == AF_INET)
                near.low &= UINT32_MAX;
            must(cidr_find(made, &near) == cidr_search(blocks, count, &near));
        }
        number.low |= low_bits >= 64 ? UINT64_MAX : ((uint64_t)1 << low_bits) - 1;
        if (low_bits > 64)
            number.high |= low_bits >= 128 ? UINT64_MAX : ((uint64_t)1 << (low_bits - 64)) - 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct block blocks[BLOCKS_MOST];
    int count = read_blocks(bytes, size, blocks);
    struct arena *arena = arena_open(64 * 1024);
    must(arena != NULL);
    const struct cidr_list *made = cidr_make(arena, blocks, count);
    for (int i = 0; i < count; i++)
        check_edges(made, blocks, count, &blocks[i]);
    arena_close(arena);
    return 0;
}
