/*
 * blocks - lists of addresses and CIDR blocks as a table to ask: of all that hold an address, the
 * longest decides.
 *
 * Owns:      the reading of one block, and the table, immutable, in the configuration's arena. The
 *            blocks are flattened into ranges that don't overlap, in order: what is asked at each
 *            connection is one binary search, however many blocks there are, and whatever lengths.
 * Knows not: options, pools.
 * Called by: gates (reading); the worker's gate (asking).
 * Runs in:   the checking child reads; a worker asks.
 */
#ifndef PREFORKD_CONFIG_BLOCKS_H
#define PREFORKD_CONFIG_BLOCKS_H

#include "../base/addr.h"
#include "../base/arena.h"

enum block_verdict {
    BLOCK_NONE, /* no block holds it */
    BLOCK_ALLOW,
    BLOCK_DENY, /* weightier than an allow of the same length */
};

struct block {
    struct addr_number first; /* bits beyond the length are 0 */
    int bits;                 /* of 32 or 128 */
    enum block_verdict verdict;
};

/* What is wrong with a word that is to be a block. */
enum block_fault {
    BLOCK_GOOD,
    BLOCK_NO_ADDRESS,
    BLOCK_BAD_LENGTH, /* of its family, in *block */
    BLOCK_HOST_BITS,  /* set beyond the length; *block is what it would be without */
};

enum { BLOCK_TEXT = 64 };

/* Reads "192.0.2.7", "192.0.2.0/24", "2001:db8::/32". A block of IPv4 addresses mapped into IPv6 is
 * one of IPv4. */
enum block_fault block_read(struct block *block, const char *word);
const char *block_print(const struct block *block, char text[static BLOCK_TEXT]);

/* A range begins at each address at which the verdict changes; it ends where the next begins. */
struct block_range {
    uint64_t high, low;
    enum block_verdict verdict;
};

struct block_table {
    const struct block_range *ranges; /* in order; the first begins at 0 */
    int count;
};

struct blocks {
    struct block_table ipv4, ipv6;
};

/* Makes the table; sorts the blocks that are handed to it. */
struct blocks *blocks_make(struct arena *arena, struct block *blocks, int count);

enum block_verdict blocks_find(const struct blocks *blocks, const struct addr_number *number);

#endif
