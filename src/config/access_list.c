#include "access_list.h"

#include "../base/units.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- blocks and their table ---------------------------------------------------------------- */

enum { MAPPED_BITS = 96 }; /* before the IPv4 address in an IPv4-mapped IPv6 address */

/* -1 if it isn't a number, or is greater than `most`. */
static int read_length(const char *text, unsigned most)
{
    uint64_t length;
    return digits_read(text, most, &length) ? (int)length : -1;
}

enum cidr_fault cidr_read(struct block *block, const char *word)
{
    char ip[INET6_ADDRSTRLEN];
    struct addr addr;
    struct addr_number number;
    size_t length = strcspn(word, "/");
    if (length >= sizeof ip || memchr(word, '%', length))
        return CIDR_NO_ADDRESS;
    memcpy(ip, word, length);
    ip[length] = '\0';
    if (!addr_from_ip(&addr, ip, 0) || !addr_number(&addr, &number))
        return CIDR_NO_ADDRESS;
    bool mapped = number.family != addr.sa.sa_family;
    unsigned most = addr.sa.sa_family == AF_INET ? 32 : 128;
    int bits = word[length] ? read_length(word + length + 1, most) : (int)most;
    *block = (struct block){.first = number, .bits = bits};
    if (bits < 0 || (mapped && bits < MAPPED_BITS))
        return CIDR_BAD_LENGTH;
    block->bits = mapped ? bits - MAPPED_BITS : bits;
    block->first = addr_mask(number, block->bits);
    return addr_compare(&number, &block->first) == 0 ? CIDR_GOOD : CIDR_HOST_BITS;
}

const char *cidr_print(const struct block *block, char text[static CIDR_TEXT])
{
    uint64_t halves[2] = {htobe64(block->first.high), htobe64(block->first.low)};
    uint32_t last = htonl((uint32_t)block->first.low);
    char ip[INET6_ADDRSTRLEN];
    bool four = block->first.family == AF_INET;
    inet_ntop(block->first.family, four ? (const void *)&last : halves, ip, sizeof ip);
    snprintf(text, CIDR_TEXT, block->bits == (four ? 32 : 128) ? "%s" : "%s/%d", ip, block->bits);
    return text;
}

/* Sorts by family, by first address, the wider before the narrower, and allow before deny: of all
 * blocks that begin at one address, the last decides. */
static int compare_blocks(const void *left, const void *right)
{
    const struct block *a = left, *b = right;
    if (a->first.family != b->first.family)
        return a->first.family < b->first.family ? -1 : 1;
    int order = addr_compare(&a->first, &b->first);
    if (order)
        return order;
    if (a->bits != b->bits)
        return a->bits < b->bits ? -1 : 1;
    return (int)a->verdict - (int)b->verdict;
}

static bool block_holds(const struct block *block, const struct addr_number *number)
{
    struct addr_number first = addr_mask(*number, block->bits);
    return addr_compare(&first, &block->first) == 0;
}

/* Finds the first address behind the block. False if the block holds the last of its family. */
static bool address_after(const struct block *block, struct addr_number *next)
{
    int width = block->first.family == AF_INET ? 32 : 128;
    int low_bits = width - block->bits;
    *next = block->first;
    if (low_bits < 64) {
        next->low += (uint64_t)1 << low_bits;
        next->high += next->low == 0;
    } else if (low_bits < 128) {
        next->high += (uint64_t)1 << (low_bits - 64);
    }
    if (width == 32)
        return next->low <= UINT32_MAX;
    return next->high || next->low;
}

/* A table in the making. The open blocks hold the current address, each inside the one before it:
 * two blocks never overlap in part. */
struct flattening {
    struct cidr_range *ranges;
    int count;
    const struct block *open[130];
    int depth;
};

/* Begins a range at this address, or replaces the range that already begins there. */
static void begin_range(struct flattening *flat, const struct addr_number *at,
                        enum cidr_verdict verdict)
{
    struct cidr_range *last = &flat->ranges[flat->count - 1];
    if (last->high != at->high || last->low != at->low)
        last = &flat->ranges[flat->count++];
    *last = (struct cidr_range){at->high, at->low, verdict};
}

static void close_block(struct flattening *flat)
{
    struct addr_number next;
    const struct block *ended = flat->open[--flat->depth];
    if (address_after(ended, &next))
        begin_range(flat, &next, flat->depth ? flat->open[flat->depth - 1]->verdict : CIDR_NONE);
}

static void open_block(struct flattening *flat, const struct block *block)
{
    while (flat->depth && !block_holds(flat->open[flat->depth - 1], &block->first))
        close_block(flat);
    if (flat->depth && flat->open[flat->depth - 1]->bits == block->bits)
        flat->depth--; /* the same block again: the later one decides */
    begin_range(flat, &block->first, block->verdict);
    flat->open[flat->depth++] = block;
}

/* Each block begins at most two ranges: at its first address, and behind its last. */
static struct cidr_table flatten(struct arena *arena, const struct block *blocks, int count)
{
    struct flattening flat = {
        .ranges = arena_take(arena, (2 * (size_t)count + 1) * sizeof(struct cidr_range)),
        .count = 1,
    };
    for (int i = 0; i < count; i++)
        open_block(&flat, &blocks[i]);
    while (flat.depth)
        close_block(&flat);
    return (struct cidr_table){.ranges = flat.ranges, .count = flat.count};
}

struct cidr_list *cidr_make(struct arena *arena, struct block *blocks, int count)
{
    struct cidr_list *list = arena_take(arena, sizeof *list);
    int ipv4_count = 0;
    qsort(blocks, (size_t)count, sizeof *blocks, compare_blocks);
    while (ipv4_count < count && blocks[ipv4_count].first.family == AF_INET)
        ipv4_count++;
    list->ipv4 = flatten(arena, blocks, ipv4_count);
    list->ipv6 = flatten(arena, blocks + ipv4_count, count - ipv4_count);
    return list;
}

enum cidr_verdict cidr_find(const struct cidr_list *blocks, const struct addr_number *number)
{
    const struct cidr_table *table = number->family == AF_INET ? &blocks->ipv4 : &blocks->ipv6;
    const struct cidr_range *base = table->ranges;
    for (int left = table->count; left > 1;) { /* *base never begins above the address */
        int half = left / 2;
        const struct cidr_range *middle = base + half;
        bool not_above =
            middle->high == number->high ? middle->low <= number->low : middle->high < number->high;
        base = not_above ? middle : base;
        left -= half;
    }
    return base->verdict;
}

/* --- the options of a pool ----------------------------------------------------------------- */

/* The blocks read so far. */
struct block_list {
    struct config *config;
    const struct pool_config *pool;
    struct block *blocks;
    int count;
};

/* To xinetd, 10.0.0.0 is a network, and perhaps to the author of the file. Here it is one address,
 * and the rest of the network would pass a `deny`. */
static void warn_of_network(const struct block_list *list, const char *option, const char *word)
{
    int bits = 32;
    size_t length = strlen(word);
    if (strspn(word, "0123456789.") != length)
        return;
    for (; bits > 8 && length > 2 && strncmp(word + length - 2, ".0", 2) == 0; length -= 2)
        bits -= 8;
    if (bits == 32)
        return;
    if (length == 1 && word[0] == '0')
        bits = 0;
    const struct origin *origin = &list->pool->origin;
    faults_add(&list->config->warnings, option_file(pool_rows, origin, option),
               option_line(pool_rows, origin, option),
               "pool %.40s: %s \"%s\" is one address, not a network: did you mean \"%s/%d\"? "
               "If not, write \"%s/32\"",
               list->pool->name, option, word, word, bits, word);
}

static void add_block(struct block_list *list, const char *option, const char *word,
                      enum cidr_verdict verdict)
{
    struct config *config = list->config;
    const struct pool_config *pool = list->pool;
    struct block *block = &list->blocks[list->count];
    char whole[CIDR_TEXT];
    enum cidr_fault fault = cidr_read(block, word);
    bool ipv4 = block->first.family == AF_INET, mapped = ipv4 && strchr(word, ':');
    switch (fault) {
    case CIDR_GOOD:
        block->verdict = verdict;
        list->count++;
        warn_of_network(list, option, word);
        break;
    case CIDR_NO_ADDRESS:
        config_fault(config, pool, option,
                     "%s takes addresses and blocks as 192.0.2.7, 192.0.2.0/24, 2001:db8::/32, not "
                     "\"%.80s\"; all are 0.0.0.0/0 and ::/0, and names are not looked up",
                     option, word);
        break;
    case CIDR_BAD_LENGTH:
        config_fault(config, pool, option,
                     "%s \"%.80s\": the length of the prefix is a number from %d to %d%s", option,
                     word, mapped ? 96 : 0, ipv4 && !mapped ? 32 : 128,
                     ipv4 && !mapped ? "; the mask 255.255.255.0 is /24" : "");
        break;
    case CIDR_HOST_BITS:
        config_fault(config, pool, option,
                     "%s \"%.80s\" has bits set behind its prefix: did you mean \"%s\", or the one "
                     "address \"%.*s\"?",
                     option, word, cidr_print(block, whole), (int)strcspn(word, "/"), word);
        break;
    }
}

static struct block_list new_list(struct config *config, const struct pool_config *pool, int most)
{
    size_t size = ((size_t)most + 1) * sizeof(struct block);
    return (struct block_list){
        .config = config, .pool = pool, .blocks = arena_take(config->arena, size)};
}

static void make_admitted(struct config *config, struct pool_config *pool)
{
    int count = pool->allow.count + pool->deny.count;
    if (count == 0)
        return;
    struct block_list list = new_list(config, pool, count);
    for (int i = 0; i < pool->allow.count; i++)
        add_block(&list, "allow", pool->allow.at[i], CIDR_ALLOW);
    for (int i = 0; i < pool->deny.count; i++)
        add_block(&list, "deny", pool->deny.at[i], CIDR_DENY);
    pool->admitted = cidr_make(config->arena, list.blocks, list.count);
}

/* The pool's first Unix socket, as `listen` has it; NULL: none. */
static const char *unix_listener(const struct pool_config *pool)
{
    for (int i = 0; i < pool->listen.count; i++)
        if (strncmp(pool->listen.at[i], "unix:", 5) == 0)
            return pool->listen.at[i];
    return NULL;
}

/* In proxy_from, "unix" stands for every peer of the pool's Unix sockets. */
static void make_proxies(struct config *config, struct pool_config *pool)
{
    struct block_list list = new_list(config, pool, pool->proxy_from.count);
    for (int i = 0; i < pool->proxy_from.count; i++) {
        if (strcmp(pool->proxy_from.at[i], "unix") == 0)
            pool->proxies_unix = true;
        else
            add_block(&list, "proxy_from", pool->proxy_from.at[i], CIDR_ALLOW);
    }
    pool->proxies = cidr_make(config->arena, list.blocks, list.count);
    if (unix_listener(pool) && !pool->proxies_unix)
        config_fault(config, pool, "proxy_from",
                     "every connection to listen \"%.100s\" " ACCESS_LIST_NO_UNIX_PROXY,
                     unix_listener(pool));
}

void access_list_apply(struct config *config, struct pool_config *pool)
{
    bool on = pool->proxy_protocol != PROXY_PROTOCOL_OFF;
    make_admitted(config, pool);
    /* The family of a passed socket is not known yet: plan.c checks those. */
    if (pool->queue_timeout && unix_listener(pool))
        config_fault(
            config, pool, "queue_timeout",
            "queue_timeout doesn't work with listen \"%.100s\": " ACCESS_LIST_NO_QUEUE_TIME,
            unix_listener(pool));
    if (!on && pool->proxy_from.count)
        config_fault(config, pool, "proxy_from", "proxy_from needs proxy_protocol = \"on\"");
    if (on && !pool_config_sets(pool, "proxy_from"))
        config_fault(config, pool, "proxy_protocol",
                     "proxy_protocol = \"on\" needs proxy_from: the proxies that may send the "
                     "header");
    if (on && pool->proxy_from.count)
        make_proxies(config, pool);
}
