#include "access_list.h"

#include "cidr.h"

#include <string.h>

/* The blocks of a list, as they are read. */
struct gathering {
    struct config *config;
    const struct pool_config *pool;
    struct block *blocks;
    int count;
};

/* 10.0.0.0 is a network to xinetd, and perhaps to the author of the file. Here it is one address:
 * the rest of the network would pass a `deny`. */
static void warn_of_network(const struct gathering *gathering, const char *option, const char *word)
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
    const struct origin *origin = &gathering->pool->origin;
    faults_add(&gathering->config->warnings, option_file(pool_rows, origin, option),
               option_line(pool_rows, origin, option),
               "pool %.40s: %s \"%s\" is one address, and no network: did you mean \"%s/%d\"? "
               "\"%s/32\" says that you did not",
               gathering->pool->name, option, word, word, bits, word);
}

static void gather(struct gathering *gathering, const char *option, const char *word,
                   enum cidr_verdict verdict)
{
    struct config *config = gathering->config;
    const struct pool_config *pool = gathering->pool;
    struct block *block = &gathering->blocks[gathering->count];
    char whole[CIDR_TEXT];
    enum cidr_fault fault = cidr_read(block, word);
    bool four = block->first.family == AF_INET, mapped = four && strchr(word, ':');
    switch (fault) {
    case CIDR_GOOD:
        block->verdict = verdict;
        gathering->count++;
        warn_of_network(gathering, option, word);
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
                     word, mapped ? 96 : 0, four && !mapped ? 32 : 128,
                     four && !mapped ? "; the mask 255.255.255.0 is /24" : "");
        break;
    case CIDR_HOST_BITS:
        config_fault(config, pool, option,
                     "%s \"%.80s\" has bits set behind its prefix: did you mean \"%s\", or the one "
                     "address \"%.*s\"?",
                     option, word, cidr_print(block, whole), (int)strcspn(word, "/"), word);
        break;
    }
}

static struct gathering begin(struct config *config, const struct pool_config *pool, int most)
{
    size_t size = ((size_t)most + 1) * sizeof(struct block);
    return (struct gathering){
        .config = config, .pool = pool, .blocks = arena_take(config->arena, size)};
}

static void rule_admitted(struct config *config, struct pool_config *pool)
{
    int count = pool->allow.count + pool->deny.count;
    if (count == 0)
        return;
    struct gathering gathering = begin(config, pool, count);
    for (int i = 0; i < pool->allow.count; i++)
        gather(&gathering, "allow", pool->allow.at[i], CIDR_ALLOW);
    for (int i = 0; i < pool->deny.count; i++)
        gather(&gathering, "deny", pool->deny.at[i], CIDR_DENY);
    pool->admitted = cidr_make(config->arena, gathering.blocks, gathering.count);
}

/* The first of the pool's words for a Unix socket; NULL: there is none. */
static const char *unix_listener(const struct pool_config *pool)
{
    for (int i = 0; i < pool->listen.count; i++)
        if (strncmp(pool->listen.at[i], "unix:", 5) == 0)
            return pool->listen.at[i];
    return NULL;
}

/* The word "unix" stands for every peer of the pool's Unix sockets. */
static void rule_proxies(struct config *config, struct pool_config *pool)
{
    struct gathering gathering = begin(config, pool, pool->proxy_from.count);
    for (int i = 0; i < pool->proxy_from.count; i++) {
        if (strcmp(pool->proxy_from.at[i], "unix") == 0)
            pool->proxies_unix = true;
        else
            gather(&gathering, "proxy_from", pool->proxy_from.at[i], CIDR_ALLOW);
    }
    pool->proxies = cidr_make(config->arena, gathering.blocks, gathering.count);
    if (unix_listener(pool) && !pool->proxies_unix)
        config_fault(config, pool, "proxy_from",
                     "every connection to listen \"%.100s\" would be refused: proxy_from has no "
                     "\"unix\", which stands for the peers of Unix sockets",
                     unix_listener(pool));
}

void access_list_apply(struct config *config, struct pool_config *pool)
{
    bool on = pool->proxy_protocol != PROXY_PROTOCOL_OFF;
    rule_admitted(config, pool);
    /* A passed socket is known once it is there: see plan.c. */
    if (pool->queue_timeout && unix_listener(pool))
        config_fault(config, pool, "queue_timeout",
                     "queue_timeout can't be kept at listen \"%.100s\": " ACCESS_LIST_NO_QUEUE_TIME,
                     unix_listener(pool));
    if (!on && pool->proxy_from.count)
        config_fault(config, pool, "proxy_from", "proxy_from needs proxy_protocol = \"on\"");
    if (on && !option_is_set(pool_rows, &pool->origin, "proxy_from"))
        config_fault(config, pool, "proxy_protocol",
                     "proxy_protocol = \"on\" needs proxy_from: the proxies that may send the "
                     "header");
    if (on && pool->proxy_from.count)
        rule_proxies(config, pool);
}
