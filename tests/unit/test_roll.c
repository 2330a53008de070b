#include "../../src/master/scale.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>

static const struct {
    struct roll roll; /* stayed, tried, stale, target, at_once, halted, unplaced */
    int allowed, surplus;
} cases[] = {
    /* all together */
    {{0, 0, 8, 8, 0, false}, 8, 0},
    {{1, 1, 8, 8, 0, false}, 8, 0},
    {{7, 7, 8, 8, 0, false}, 8, 0},
    {{8, 8, 8, 8, 0, false}, 8, 8},
    {{7, 8, 8, 8, 0, false}, 8, 8}, /* one was tried, and failed */
    {{0, 8, 8, 8, 0, false}, 8, 0}, /* all failed: the old workers stay */
    {{0, 0, 8, 0, 0, false}, 0, 8}, /* drained, or removed */
    {{8, 8, 0, 8, 0, false}, 8, 0},
    /* one by one */
    {{0, 0, 0, 8, 1, false}, 8, 0}, /* no old worker is left: all at once */
    {{0, 0, 8, 8, 1, false}, 1, 0},
    {{1, 1, 8, 8, 1, false}, 2, 1}, /* the canary is ready */
    {{1, 1, 7, 8, 1, false}, 2, 0},
    {{2, 2, 7, 8, 1, false}, 3, 1},
    {{2, 2, 4, 8, 1, false}, 4, 0}, /* old workers died: new ones replace them */
    {{7, 7, 1, 8, 1, false}, 8, 0},
    {{8, 8, 1, 8, 1, false}, 8, 1},
    {{1, 2, 7, 8, 1, false}, 3, 0}, /* one fails: the roll goes on, but an old worker stays */
    {{0, 3, 8, 8, 1, false}, 4, 0}, /* all fail so far: all old workers stay */
    {{7, 8, 1, 8, 1, false}, 8, 1},
    {{0, 0, 8, 0, 1, false}, 0, 8},
    {{1, 1, 8, 8, 1, false, 1}, 2, 1}, /* one has no place: not one more for it */
    {{1, 1, 7, 8, 1, false, 7}, 2, 7}, /* none of the others has: old ones go */
    /* some at once */
    {{0, 0, 8, 8, 3, false}, 3, 0},
    {{1, 1, 8, 8, 3, false}, 4, 1},
    {{3, 3, 8, 8, 3, false}, 6, 3},
    {{7, 7, 3, 8, 3, false}, 8, 2},
    {{0, 0, 8, 8, 100, false}, 8, 0},
    /* to another size */
    {{0, 0, 4, 8, 1, false}, 4, 0},
    {{1, 1, 4, 8, 1, false}, 4, 0},
    {{4, 4, 4, 8, 1, false}, 5, 0},
    {{5, 5, 4, 8, 1, false}, 6, 1},
    {{0, 0, 8, 2, 1, false}, 1, 6}, /* fewer are wanted: surplus ones go at once */
    {{1, 1, 2, 2, 1, false}, 2, 1},
    /* halted: as many new workers as stayed, and as are missing besides the old ones */
    {{1, 2, 7, 8, 1, true}, 1, 0},
    {{2, 3, 7, 8, 1, true}, 2, 1}, /* one old worker was replaced by it */
    {{1, 2, 5, 8, 1, true}, 3, 0}, /* old workers died */
    {{0, 1, 8, 8, 1, true}, 0, 0}, /* the canary died later */
    {{0, 8, 0, 8, 1, true}, 8, 0}, /* no old worker is left */
    {{3, 8, 8, 8, 0, true}, 3, 3}, /* all at once: those that stayed replace as many */
    {{0, 8, 8, 8, 0, true}, 0, 0},
    {{9, 9, 1, 8, 0, true}, 8, 1},
    {{1, 2, 8, 0, 1, true}, 0, 8}, /* drained */
};

static const struct {
    struct roll roll;
    bool over;
} ends[] = {
    {{0, 0, 8, 8, 0, false}, false}, {{8, 8, 8, 8, 0, false}, false}, /* the old are to go */
    {{8, 8, 0, 8, 0, false}, true},  {{7, 8, 0, 8, 0, false}, true},
    {{7, 7, 0, 8, 0, false}, false}, {{0, 8, 8, 8, 0, false}, true}, /* all failed */
    {{0, 8, 0, 8, 0, false}, true},  {{1, 2, 7, 8, 1, true}, true},
    {{1, 2, 0, 8, 1, true}, false}, /* the reason of the halt is gone */
    {{0, 0, 0, 0, 0, false}, true},
};

START_TEST(tells_its_end)
{
    ck_assert(roll_is_over(&ends[_i].roll) == ends[_i].over);
}
END_TEST

START_TEST(decides)
{
    ck_assert_int_eq(roll_allowed(&cases[_i].roll), cases[_i].allowed);
    ck_assert_int_eq(roll_surplus(&cases[_i].roll), cases[_i].surplus);
}
END_TEST

/* Played to its end, a roll never has too few serving workers, nor more than at_once too many. */
START_TEST(keeps_its_size)
{
    for (int at_once = 1; at_once < 12; at_once++) {
        struct roll roll = {.stale = 10, .target = 10, .at_once = at_once};
        int born = 0;
        for (int round = 0; roll.stale; round++) {
            ck_assert_int_lt(round, 100);
            int allowed = roll_allowed(&roll);
            born = allowed > born ? allowed : born;
            ck_assert_int_le(born + roll.stale, roll.target + at_once);
            roll.stayed += roll.stayed < born; /* one more gets ready in each round */
            roll.tried = roll.stayed;
            roll.stale -= roll_surplus(&roll);
            ck_assert_int_ge(roll.stayed + roll.stale, roll.target);
        }
        ck_assert_int_eq(born, roll.target);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("roll");
    tcase_add_loop_test(tests, decides, 0, sizeof cases / sizeof *cases);
    tcase_add_loop_test(tests, tells_its_end, 0, sizeof ends / sizeof *ends);
    tcase_add_test(tests, keeps_its_size);
    return unit_run("roll", tests);
}
