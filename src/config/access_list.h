/*
 * access_list - allow, deny and proxy_from as tables, by which a worker admits peers.
 *
 * Must not know: connections.
 * Called by rules, in the checking child.
 */
#ifndef PREFORKD_CONFIG_ACCESS_LIST_H
#define PREFORKD_CONFIG_ACCESS_LIST_H

#include "config.h"

enum cidr_verdict {
    CIDR_NONE, /* no block holds it */
    CIDR_ALLOW,
    CIDR_DENY, /* weightier than an allow of the same length */
};

struct block {
    struct addr_number first; /* bits beyond the length are 0 */
    int bits;                 /* of 32 or 128 */
    enum cidr_verdict verdict;
};

/* What is wrong with a word that is to be a block. */
enum cidr_fault {
    CIDR_GOOD,
    CIDR_NO_ADDRESS,
    CIDR_BAD_LENGTH, /* of its family, in *block */
    CIDR_HOST_BITS,  /* set beyond the length; *block is what it would be without */
};

enum { CIDR_TEXT = 64 };

/* Reads "192.0.2.7", "192.0.2.0/24", "2001:db8::/32". A block of IPv4 addresses mapped into IPv6 is
 * one of IPv4. */
enum cidr_fault cidr_read(struct block *block, const char *word);
const char *cidr_print(const struct block *block, char text[static CIDR_TEXT]);

/* A range begins at each address at which the verdict changes; it ends where the next begins. */
struct cidr_range {
    uint64_t high, low;
    enum cidr_verdict verdict;
};

struct cidr_table {
    const struct cidr_range *ranges; /* in order; the first begins at 0 */
    int count;
};

struct cidr_list {
    struct cidr_table ipv4, ipv6;
};

/* Makes the table; sorts the blocks that are handed to it. */
struct cidr_list *cidr_make(struct arena *arena, struct block *blocks, int count);

enum cidr_verdict cidr_find(const struct cidr_list *blocks, const struct addr_number *number);

/* Why queue_timeout needs TCP. */
#define ACCESS_LIST_NO_QUEUE_TIME                                                                  \
    "how long a connection waited, the kernel doesn't tell of Unix sockets, of TCP alone"

/* Reads the lists of one pool, and notes every fault. */
void access_list_apply(struct config *config, struct pool_config *pool);

#endif
