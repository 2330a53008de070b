/* CIDR blocks: parsing, and the longest match, compared with a linear search. */
#include "cidr_search.h"
#include "unit.h"

#include <arpa/inet.h>
#include <check.h>
#include <string.h>

static const struct {
    const char *word;
    enum cidr_fault fault;
    const char *text; /* as printed, if it is a block */
} words[] = {
    {"192.0.2.7", CIDR_GOOD, "192.0.2.7"},
    {"192.0.2.7/32", CIDR_GOOD, "192.0.2.7"},
    {"192.0.2.0/24", CIDR_GOOD, "192.0.2.0/24"},
    {"0.0.0.0/0", CIDR_GOOD, "0.0.0.0/0"},
    {"255.255.255.255", CIDR_GOOD, "255.255.255.255"},
    {"128.0.0.0/1", CIDR_GOOD, "128.0.0.0/1"},
    {"2001:DB8::/32", CIDR_GOOD, "2001:db8::/32"},
    {"::/0", CIDR_GOOD, "::/0"},
    {"::1", CIDR_GOOD, "::1"},
    {"::1/128", CIDR_GOOD, "::1"},
    {"2001:db8:0:1::/64", CIDR_GOOD, "2001:db8:0:1::/64"},
    {"2001:db8:0:1:8000::/65", CIDR_GOOD, "2001:db8:0:1:8000::/65"},
    {"::ffff:192.0.2.0/120", CIDR_GOOD, "192.0.2.0/24"},
    {"::ffff:192.0.2.7", CIDR_GOOD, "192.0.2.7"},
    {"::ffff:0:0/96", CIDR_GOOD, "0.0.0.0/0"},
    {"192.0.2.7/24", CIDR_HOST_BITS, "192.0.2.0/24"},
    {"192.0.2.7/0", CIDR_HOST_BITS, "0.0.0.0/0"},
    {"2001:db8::1/64", CIDR_HOST_BITS, "2001:db8::/64"},
    {"::ffff:192.0.2.7/120", CIDR_HOST_BITS, "192.0.2.0/24"},
    {"192.0.2.0/33", CIDR_BAD_LENGTH, NULL},
    {"192.0.2.0/", CIDR_BAD_LENGTH, NULL},
    {"192.0.2.0/-1", CIDR_BAD_LENGTH, NULL},
    {"192.0.2.0/+8", CIDR_BAD_LENGTH, NULL},
    {"192.0.2.0/08", CIDR_BAD_LENGTH, NULL},
    {"192.0.2.0/24x", CIDR_BAD_LENGTH, NULL},
    {"192.0.2.0/24/24", CIDR_BAD_LENGTH, NULL},
    {"192.0.2.0/255.255.255.0", CIDR_BAD_LENGTH, NULL},
    {"192.0.2.0/99999999999999999999", CIDR_BAD_LENGTH, NULL},
    {"::/129", CIDR_BAD_LENGTH, NULL},
    {"::ffff:0:0/95", CIDR_BAD_LENGTH, NULL},
    {"", CIDR_NO_ADDRESS, NULL},
    {"/8", CIDR_NO_ADDRESS, NULL},
    {"10", CIDR_NO_ADDRESS, NULL},
    {"10/8", CIDR_NO_ADDRESS, NULL},
    {"010.0.0.0/8", CIDR_NO_ADDRESS, NULL},
    {"[::1]", CIDR_NO_ADDRESS, NULL},
    {"fe80::1%lo", CIDR_NO_ADDRESS, NULL},
    {"localhost", CIDR_NO_ADDRESS, NULL},
    {"unix", CIDR_NO_ADDRESS, NULL},
    {"2001:db8:0000:0000:0000:0000:0000:0000:0000/32", CIDR_NO_ADDRESS, NULL},
};

START_TEST(words_are_read)
{
    struct block block;
    char text[CIDR_TEXT];
    ck_assert_msg(cidr_read(&block, words[_i].word) == words[_i].fault, "%s", words[_i].word);
    if (words[_i].text)
        ck_assert_str_eq(cidr_print(&block, text), words[_i].text);
}
END_TEST

/* --- which addresses are admitted ------------------------------------------------------------- */

enum { LIST_MAX = 8 };

static const struct {
    const char *allow[LIST_MAX], *deny[LIST_MAX];
    const char *peer;
    enum cidr_verdict verdict;
} lists[] = {
    {{"10.0.0.0/8"}, {0}, "10.1.2.3", CIDR_ALLOW},
    {{"10.0.0.0/8"}, {0}, "11.0.0.0", CIDR_NONE},
    {{"10.0.0.0/8"}, {0}, "9.255.255.255", CIDR_NONE},
    {{"10.0.0.0/8"}, {0}, "10.255.255.255", CIDR_ALLOW},
    {{"10.0.0.0/8"}, {"10.1.0.0/16"}, "10.1.2.3", CIDR_DENY},
    {{"10.0.0.0/8"}, {"10.1.0.0/16"}, "10.2.0.0", CIDR_ALLOW},
    {{"10.0.0.0/8", "10.1.2.3"}, {"10.1.0.0/16"}, "10.1.2.3", CIDR_ALLOW},
    {{"10.0.0.0/8", "10.1.2.3"}, {"10.1.0.0/16"}, "10.1.2.4", CIDR_DENY},
    {{"10.1.0.0/16"}, {"10.1.0.0/16"}, "10.1.2.3", CIDR_DENY},
    {{"10.1.0.0/16", "10.1.0.0/16"}, {0}, "10.1.2.3", CIDR_ALLOW},
    {{"10.1.0.0/16", "10.1.0.0/17"}, {"10.1.0.0/16"}, "10.1.2.3", CIDR_ALLOW},
    {{"10.1.0.0/16", "10.1.0.0/17"}, {"10.1.0.0/16"}, "10.1.128.0", CIDR_DENY},
    {{"10.1.0.0/16", "10.1.0.0/17"}, {"10.1.0.0/16"}, "10.2.0.0", CIDR_NONE},
    {{0}, {"0.0.0.0/0"}, "0.0.0.0", CIDR_DENY},
    {{0}, {"0.0.0.0/0"}, "255.255.255.255", CIDR_DENY},
    {{0}, {"0.0.0.0/0"}, "::", CIDR_NONE},
    {{"::/0"}, {0}, "10.0.0.1", CIDR_NONE},
    {{"::/0"}, {0}, "::ffff:10.0.0.1", CIDR_NONE},
    {{"::/0"}, {0}, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", CIDR_ALLOW},
    {{"10.0.0.0/8"}, {0}, "::ffff:10.0.0.1", CIDR_ALLOW},
    {{"::ffff:10.0.0.0/104"}, {0}, "10.0.0.1", CIDR_ALLOW},
    {{"255.255.255.255"}, {"255.255.255.254/31"}, "255.255.255.255", CIDR_ALLOW},
    {{"255.255.255.255"}, {"255.255.255.254/31"}, "255.255.255.254", CIDR_DENY},
    {{"2001:db8::/32"}, {"2001:db8:0:1::/64"}, "2001:db8:0:1::5", CIDR_DENY},
    {{"2001:db8::/32"}, {"2001:db8:0:1::/64"}, "2001:db8:0:2::", CIDR_ALLOW},
    {{"2001:db8::/32"}, {"2001:db8:0:1:8000::/65"}, "2001:db8:0:1:7fff::", CIDR_ALLOW},
    {{"2001:db8::/32"}, {"2001:db8:0:1:8000::/65"}, "2001:db8:0:1:8000::", CIDR_DENY},
    {{0}, {0}, "10.0.0.1", CIDR_NONE},
    {{"10.0.0.0/8", "::/0"}, {"10.0.0.1", "::1"}, "::1", CIDR_DENY},
};

static void read_list(const char *const *list, enum cidr_verdict verdict, struct block *blocks,
                      int *count)
{
    for (int i = 0; i < LIST_MAX && list[i]; i++, (*count)++) {
        ck_assert_int_eq(cidr_read(&blocks[*count], list[i]), CIDR_GOOD);
        blocks[*count].verdict = verdict;
    }
}

START_TEST(the_longest_decides)
{
    struct arena *arena = arena_open(1024 * 1024);
    struct block blocks[2 * LIST_MAX];
    struct addr addr;
    struct addr_number number;
    int count = 0;
    read_list(lists[_i].allow, CIDR_ALLOW, blocks, &count);
    read_list(lists[_i].deny, CIDR_DENY, blocks, &count);
    const struct cidr_list *made = cidr_make(arena, blocks, count);
    ck_assert(addr_from_ip(&addr, lists[_i].peer, 1) && addr_number(&addr, &number));
    ck_assert_int_eq(cidr_find(made, &number), lists[_i].verdict);
    arena_close(arena);
}
END_TEST

/* --- against a search through all ---------------------------------------------------------- */

static uint64_t state = 42;

static uint64_t any(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 33 ^ state << 31;
}

/* Few bits differ, so that blocks contain one another, or begin and end together. */
static struct addr_number any_number(int family)
{
    uint64_t few = any() & 0x8000000100000001u;
    if (family == AF_INET)
        return (struct addr_number){.low = (any() & 0xc0000003u) | (any() & 3) << 15,
                                    .family = family};
    return (struct addr_number){
        .high = few | (any() & 1) << 62, .low = few | any() >> 63 << 63, .family = family};
}

static struct block any_block(void)
{
    int family = any() % 2 ? AF_INET : AF_INET6;
    int bits = (int)(any() % (family == AF_INET ? 33 : 129));
    return (struct block){.first = addr_mask(any_number(family), bits),
                          .bits = bits,
                          .verdict = any() % 2 ? CIDR_ALLOW : CIDR_DENY};
}

/* The number itself or a neighbour, where blocks begin and end. */
static struct addr_number nearby(struct addr_number number)
{
    uint64_t step = any() % 3;
    number.low += step == 2 ? UINT64_MAX : step;
    if (number.family == AF_INET)
        number.low &= UINT32_MAX;
    return number;
}

START_TEST(as_a_search_through_all)
{
    enum { ROUNDS = 300, MOST = 60, ASKED = 300 };
    for (int round = 0; round < ROUNDS; round++) {
        struct arena *arena = arena_open(1024 * 1024);
        struct block blocks[MOST], sorted[MOST];
        int count = (int)(any() % (MOST + 1));
        for (int i = 0; i < count; i++)
            sorted[i] = blocks[i] = any_block();
        const struct cidr_list *made = cidr_make(arena, sorted, count);
        for (int i = 0; i < ASKED; i++) {
            struct addr_number number = count && any() % 2
                                            ? nearby(blocks[any() % (unsigned)count].first)
                                            : any_number(any() % 2 ? AF_INET : AF_INET6);
            ck_assert_int_eq(cidr_find(made, &number), cidr_search(blocks, count, &number));
        }
        arena_close(arena);
    }
}
END_TEST

/* The same block a thousand times, as in concatenated lists: the last one decides. */
START_TEST(the_same_again_and_again)
{
    enum { AGAIN = 1000 };
    static struct block blocks[AGAIN];
    struct block one;
    ck_assert_int_eq(cidr_read(&one, "10.0.0.0/8"), CIDR_GOOD);
    for (int i = 0; i < AGAIN; i++) {
        blocks[i] = one;
        blocks[i].verdict = i == 7 ? CIDR_DENY : CIDR_ALLOW;
    }
    struct arena *arena = arena_open(1024 * 1024);
    const struct cidr_list *made = cidr_make(arena, blocks, AGAIN);
    ck_assert_int_eq(cidr_find(made, &one.first), CIDR_DENY);
    struct addr_number behind = {.low = 11u << 24, .family = AF_INET};
    ck_assert_int_eq(cidr_find(made, &behind), CIDR_NONE);
    arena_close(arena);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("blocks");
    tcase_add_loop_test(tests, words_are_read, 0, sizeof words / sizeof *words);
    tcase_add_loop_test(tests, the_longest_decides, 0, sizeof lists / sizeof *lists);
    tcase_add_test(tests, as_a_search_through_all);
    tcase_add_test(tests, the_same_again_and_again);
    tcase_set_timeout(tests, 60); /* generous: sanitizers, and a loaded machine */
    return unit_run("blocks", tests);
}
