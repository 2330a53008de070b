/*
 * access_list - allow, deny and proxy_from as tables of CIDR blocks. Of all blocks that hold an
 * address, the longest decides.
 *
 * Must not know: connections.
 * Called by rules, in the checking child, to read the options and make the tables in the
 * configuration's arena; by a worker's access, to look up an address.
 */
#ifndef PREFORKD_CONFIG_ACCESS_LIST_H
#define PREFORKD_CONFIG_ACCESS_LIST_H

#include "config.h"

enum cidr_verdict {
    CIDR_NONE, /* no block holds the address */
    CIDR_ALLOW,
    CIDR_DENY, /* wins over an allow of the same length */
};

struct block {
    struct addr_number first; /* bits beyond the prefix are 0 */
    int bits;                 /* length of the prefix, of 32 or 128 */
    enum cidr_verdict verdict;
};

/* What is wrong with the text of a block. */
enum cidr_fault {
    CIDR_GOOD,
    CIDR_NO_ADDRESS,
    CIDR_BAD_LENGTH, /* for the family in *block */
    CIDR_HOST_BITS,  /* bits are set beyond the prefix; *block has them cleared */
};

enum { CIDR_TEXT = 64 };

/* Reads "192.0.2.7", "192.0.2.0/24", "2001:db8::/32". A block of IPv4-mapped IPv6 addresses becomes
 * an IPv4 block. */
enum cidr_fault cidr_read(struct block *block, const char *word);
const char *cidr_print(const struct block *block, char text[static CIDR_TEXT]);

/* The blocks are flattened into sorted ranges that don't overlap, so a lookup is one binary
 * search, however many blocks there are, and of whatever lengths. A range begins at each address at
 * which the verdict changes, and ends where the next range begins. */
struct cidr_range {
    uint64_t high, low;
    enum cidr_verdict verdict;
};

struct cidr_table {
    const struct cidr_range *ranges; /* sorted; the first begins at 0 */
    int count;
};

struct cidr_list {
    struct cidr_table ipv4, ipv6;
};

/* Makes the tables. Sorts `blocks` in place. */
struct cidr_list *cidr_make(struct arena *arena, struct block *blocks, int count);

enum cidr_verdict cidr_find(const struct cidr_list *blocks, const struct addr_number *number);

/* Why queue_timeout needs TCP; plan says it of passed sockets. */
#define ACCESS_LIST_NO_QUEUE_TIME "the kernel reports only for TCP how long a connection waited"

/* Why a pool with proxy_protocol has no use for such a socket; plan says it of passed sockets. */
#define ACCESS_LIST_NO_UNIX_PROXY                                                                  \
    "would be refused: proxy_from has no \"unix\", which stands for the peers of Unix sockets"

/* Reads the lists of a pool into pool->admitted and pool->proxies. Notes every fault. */
void access_list_apply(struct config *config, struct pool_config *pool);

#endif
