#include "access_list.h"

#include "cidr.h"

#include <string.h>

/* The word of proxy_from that stands for every peer of the pool's Unix sockets. */
static const char unix_word[] = "unix";

/* A list's blocks in the making. */
struct gathering {
    const struct rule_context *context;
    const struct pool_config *pool;
    struct block *blocks;
    int count;
};

static void fault_length(const struct gathering *gathering, const char *option, const char *word,
                         const struct block *block)
{
    bool mapped = block->first.family == AF_INET && strchr(word, ':');
    int most = block->first.family == AF_INET && !mapped ? 32 : 128;
    rule_context_fault(gathering->context, gathering->pool, option,
                       "%s \"%.80s\": the length of the prefix is a number from %d to %d", option,
                       word, mapped ? 96 : 0, most);
}

static void fault_host_bits(const struct gathering *gathering, const char *option, const char *word,
                            const struct block *block)
{
    char whole[CIDR_TEXT];
    rule_context_fault(
        gathering->context, gathering->pool, option,
        "%s \"%.80s\" has bits set behind its prefix: did you mean \"%s\", or the one "
        "address \"%.*s\"?",
        option, word, cidr_print(block, whole), (int)strcspn(word, "/"), word);
}

/* 10.0.0.0 is the network to xinetd, and may be so to whoever comes from there; here it is a host that
 * nobody has, and what was to be refused is let in. */
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
    rule_context_warn(gathering->context, gathering->pool, option,
                      "%s \"%s\" is one address, and no network: did you mean \"%s/%d\"? "
                      "\"%s/32\" says that you did not",
                      option, word, word, bits, word);
}

static void gather_word(struct gathering *gathering, const char *option, const char *word,
                        enum cidr_verdict verdict)
{
    struct block *block = &gathering->blocks[gathering->count];
    switch (cidr_read(block, word)) {
    case CIDR_GOOD:
        block->verdict = verdict;
        gathering->count++;
        warn_of_network(gathering, option, word);
        break;
    case CIDR_NO_ADDRESS:
        rule_context_fault(
            gathering->context, gathering->pool, option,
            "%s takes addresses and blocks as 192.0.2.7, 192.0.2.0/24, 2001:db8::/32, not "
            "\"%.80s\"",
            option, word);
        break;
    case CIDR_BAD_LENGTH: fault_length(gathering, option, word, block); break;
    case CIDR_HOST_BITS: fault_host_bits(gathering, option, word, block); break;
    }
}

static void gather(struct gathering *gathering, const char *option, const struct words *words,
                   enum cidr_verdict verdict)
{
    for (int i = 0; i < words->count; i++)
        gather_word(gathering, option, words->at[i], verdict);
}

static struct gathering gathering_of(const struct rule_context *context,
                                     const struct pool_config *pool, int most)
{
    return (struct gathering){
        .context = context,
        .pool = pool,
        .blocks = arena_take(context->arena, ((size_t)most + 1) * sizeof(struct block)),
    };
}

static void rule_admitted(const struct rule_context *context, struct pool_config *pool)
{
    int count = pool->allow.count + pool->deny.count;
    if (count == 0)
        return;
    struct gathering gathering = gathering_of(context, pool, count);
    gather(&gathering, "allow", &pool->allow, CIDR_ALLOW);
    gather(&gathering, "deny", &pool->deny, CIDR_DENY);
    pool->admitted = cidr_make(context->arena, gathering.blocks, gathering.count);
}

static void rule_proxies(const struct rule_context *context, struct pool_config *pool)
{
    struct gathering gathering = gathering_of(context, pool, pool->proxy_from.count);
    for (int i = 0; i < pool->proxy_from.count; i++) {
        if (strcmp(pool->proxy_from.at[i], unix_word) == 0)
            pool->proxies_unix = true;
        else
            gather_word(&gathering, "proxy_from", pool->proxy_from.at[i], CIDR_ALLOW);
    }
    pool->proxies = cidr_make(context->arena, gathering.blocks, gathering.count);
}

/* A listener at which nobody could send what must come first. */
static void rule_deaf(const struct rule_context *context, const struct pool_config *pool)
{
    for (int i = 0; i < pool->listen.count && !pool->proxies_unix; i++)
        if (strncmp(pool->listen.at[i], "unix:", 5) == 0) {
            rule_context_fault(
                context, pool, "proxy_from",
                "every connection to listen \"%.100s\" would be refused: proxy_from has "
                "no \"unix\", which stands for the peers of Unix sockets",
                pool->listen.at[i]);
            return;
        }
}

/* A passed socket is known once it is there: see plan.c. */
static void rule_queue(const struct rule_context *context, const struct pool_config *pool)
{
    for (int i = 0; i < pool->listen.count && pool->queue_timeout; i++)
        if (strncmp(pool->listen.at[i], "unix:", 5) == 0) {
            rule_context_fault(context, pool, "queue_timeout",
                               "queue_timeout can't be kept at listen \"%.100s\": " GATES_NO_WAIT,
                               pool->listen.at[i]);
            return;
        }
}

void access_list_apply(const struct rule_context *context, struct pool_config *pool)
{
    rule_admitted(context, pool);
    rule_queue(context, pool);
    if (pool->proxy_protocol == PROXY_PROTOCOL_OFF) {
        if (pool->proxy_from.count)
            rule_context_fault(context, pool, "proxy_from",
                               "proxy_from needs proxy_protocol = \"on\"");
        return;
    }
    if (!option_is_set(pool_rows, &pool->origin, "proxy_from"))
        rule_context_fault(
            context, pool, "proxy_protocol",
            "proxy_protocol = \"on\" needs proxy_from: the proxies that may send the "
            "header");
    if (!pool->proxy_from.count)
        return;
    rule_proxies(context, pool);
    rule_deaf(context, pool);
}
