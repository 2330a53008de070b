#include "../../src/master/roll.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>

static const struct {
    struct roll roll; /* ready, settled, outdated, target, at_once */
    int allowed, surplus;
} cases[] = {
    /* all together */
    {{0, 0, 8, 8, 0}, 8, 0},
    {{1, 1, 8, 8, 0}, 8, 0},
    {{7, 7, 8, 8, 0}, 8, 0},
    {{8, 8, 8, 8, 0}, 8, 8},
    {{7, 8, 8, 8, 0}, 8, 8}, /* one had its try */
    {{0, 8, 8, 8, 0}, 8, 0}, /* all failed: the old stay */
    {{0, 0, 8, 0, 0}, 0, 8}, /* drained, or removed */
    {{8, 8, 0, 8, 0}, 8, 0},
    /* one by one */
    {{0, 0, 0, 8, 1}, 8, 0}, /* nobody is there: all at once */
    {{0, 0, 8, 8, 1}, 1, 0},
    {{1, 1, 8, 8, 1}, 2, 1}, /* the canary is ready */
    {{1, 1, 7, 8, 1}, 2, 0},
    {{2, 2, 7, 8, 1}, 3, 1},
    {{2, 2, 4, 8, 1}, 4, 0}, /* old ones died: new ones come for them */
    {{7, 7, 1, 8, 1}, 8, 0},
    {{8, 8, 1, 8, 1}, 8, 1},
    {{1, 2, 7, 8, 1}, 3, 0}, /* one fails, and holds up nobody, but keeps an old one */
    {{0, 3, 8, 8, 1}, 4, 0}, /* all fail so far: all the old stay */
    {{7, 8, 1, 8, 1}, 8, 1},
    {{0, 0, 8, 0, 1}, 0, 8},
    /* some at once */
    {{0, 0, 8, 8, 3}, 3, 0},
    {{1, 1, 8, 8, 3}, 4, 1},
    {{3, 3, 8, 8, 3}, 6, 3},
    {{7, 7, 3, 8, 3}, 8, 2},
    {{0, 0, 8, 8, 100}, 8, 0},
    /* to another size */
    {{0, 0, 4, 8, 1}, 4, 0},
    {{1, 1, 4, 8, 1}, 4, 0},
    {{4, 4, 4, 8, 1}, 5, 0},
    {{5, 5, 4, 8, 1}, 6, 1},
    {{0, 0, 8, 2, 1}, 1, 6}, /* fewer are wanted: those beyond go at once */
    {{1, 1, 2, 2, 1}, 2, 1},
};

START_TEST(decides)
{
    ck_assert_int_eq(roll_allowed(&cases[_i].roll), cases[_i].allowed);
    ck_assert_int_eq(roll_surplus(&cases[_i].roll), cases[_i].surplus);
}
END_TEST

/* Played to its end, it never has fewer ready ones than it should, nor more than at_once beyond. */
START_TEST(keeps_its_size)
{
    for (int at_once = 1; at_once < 12; at_once++) {
        struct roll roll = {.outdated = 10, .target = 10, .at_once = at_once};
        int born = 0;
        for (int round = 0; roll.outdated; round++) {
            ck_assert_int_lt(round, 100);
            int allowed = roll_allowed(&roll);
            born = allowed > born ? allowed : born;
            ck_assert_int_le(born + roll.outdated, roll.target + at_once);
            roll.ready += roll.ready < born; /* one more is ready in each round */
            roll.settled = roll.ready;
            roll.outdated -= roll_surplus(&roll);
            ck_assert_int_ge(roll.ready + roll.outdated, roll.target);
        }
        ck_assert_int_eq(born, roll.target);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("roll");
    tcase_add_loop_test(tests, decides, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tests, keeps_its_size);
    return unit_run("roll", tests);
}
