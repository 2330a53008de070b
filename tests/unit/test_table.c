/* Tables as preforkctl prints them. */
#include "../../src/ctl/table.h"
#include "unit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *printed(struct table *table)
{
    static char text[1000];
    char *made;
    size_t size;
    FILE *out = open_memstream(&made, &size);
    ck_assert_ptr_nonnull(out);
    ck_assert(table_print(table, out));
    fclose(out);
    snprintf(text, sizeof text, "%s", made);
    free(made);
    return text;
}

/* A character takes one column, however many bytes it has, and a colour none. */
START_TEST(columns_are_characters_wide)
{
    static const char *const wanted = "NAME    N  LAST\n"
                                      "gr\xc3\xbc\xc3\x9f"
                                      "e   7  x\n"
                                      "plain  12  y\n";
    for (int coloured = 0; coloured < 2; coloured++) {
        struct table table = {.heads = {"NAME", ">N", "LAST"}, .coloured = coloured};
        table_add(&table, "%s",
                  "gr\xc3\xbc\xc3\x9f"
                  "e");
        table_paint(&table, COLOUR_ODD, "%d", 7);
        table_add(&table, "x");
        table_add(&table, "plain");
        table_add(&table, "%d", 12);
        table_add(&table, "y");
        char bare[1000], *to = bare;
        for (const char *at = printed(&table); *at;) {
            size_t colour = colour_length(at, strlen(at));
            if (!colour)
                *to++ = *at;
            at += colour ? colour : 1;
        }
        *to = '\0';
        ck_assert_str_eq(bare, wanted);
    }
}
END_TEST

static const struct {
    long long part, whole;
    const char *bar;
} bars[] = {
    {0, 10, "[----------]"},  {1, 1000, "[#---------]"},   {5, 10, "[#####-----]"},
    {9, 10, "[#########-]"},  {999, 1000, "[#########-]"}, {10, 10, "[##########]"},
    {11, 10, "[##########]"}, {0, 0, "[----------]"},
};

START_TEST(bars_tell_some_from_none_and_all)
{
    struct table table = {.heads = {"B"}};
    char wanted[32];
    table_bar(&table, bars[_i].part, bars[_i].whole, COLOUR_NONE);
    snprintf(wanted, sizeof wanted, "B\n%s\n", bars[_i].bar);
    ck_assert_str_eq(printed(&table), wanted);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("table");
    tcase_add_test(tests, columns_are_characters_wide);
    tcase_add_loop_test(tests, bars_tell_some_from_none_and_all, 0, sizeof bars / sizeof *bars);
    return unit_run("table", tests);
}
