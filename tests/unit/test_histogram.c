#include "../../src/board/histogram.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* A linear search through all bounds. */
static unsigned class_of(usec span)
{
    unsigned at = 0;
    while (at < HISTOGRAM_CLASSES - 1 && span > (usec)histogram_bounds[at])
        at++;
    return at;
}

/* This lets one comparison find the class. */
START_TEST(bounds_are_far_apart)
{
    for (int i = 1; i < HISTOGRAM_CLASSES; i++)
        ck_assert_uint_ge(histogram_bounds[i] / 2, histogram_bounds[i - 1]);
}
END_TEST

START_TEST(each_span_has_its_class)
{
    for (usec span = -1; span < 70000; span++)
        ck_assert_uint_eq(histogram_class(span), class_of(span));
    for (int i = 0; i < HISTOGRAM_CLASSES; i++)
        for (usec off = -1; off <= 1; off++)
            ck_assert_uint_eq(histogram_class(histogram_bounds[i] + off),
                              class_of(histogram_bounds[i] + off));
    for (int bit = 0; bit < 63; bit++)
        for (usec off = -1; off <= 1; off++)
            ck_assert_uint_eq(histogram_class(((usec)1 << bit) + off),
                              class_of(((usec)1 << bit) + off));
    ck_assert_uint_eq(histogram_class(INT64_MIN), 0);
    ck_assert_uint_eq(histogram_class(INT64_MAX), HISTOGRAM_CLASSES - 1);
}
END_TEST

START_TEST(counts_and_sums)
{
    struct histogram one = {0}, all = {0};
    histogram_count(&one, 100, 1);
    histogram_count(&one, 101, 32);
    histogram_count(&one, -5, 1);
    histogram_count(&all, 3, 1);
    histogram_add(&all, &one);
    ck_assert_uint_eq(all.sum, 3 + 100 + 32 * 101);
    ck_assert_uint_eq(all.classes[0], 2);
    ck_assert_uint_eq(all.classes[1], 1);
    ck_assert_uint_eq(all.classes[2], 32);
    ck_assert_uint_eq(histogram_total(&all), 35);
}
END_TEST

START_TEST(quantiles)
{
    struct histogram histogram = {0};
    ck_assert_int_eq(histogram_quantile(&histogram, 500), 0);
    histogram_count(&histogram, 20, 50);
    histogram_count(&histogram, 2000, 50);
    ck_assert_int_eq(histogram_quantile(&histogram, 500), 50);
    ck_assert_int_eq(histogram_quantile(&histogram, 250), 25);
    ck_assert_int_eq(histogram_quantile(&histogram, 750), 1750);
    ck_assert_int_eq(histogram_quantile(&histogram, 1000), 2500);
    histogram_count(&histogram, 3600 * USEC_SECOND, 1000);
    ck_assert_int_eq(histogram_quantile(&histogram, 990), 60 * USEC_SECOND);
    memset(&histogram, 0, sizeof histogram);
    histogram_count(&histogram, 40 * USEC_SECOND, 10); /* the last one with an end */
    ck_assert_int_eq(histogram_quantile(&histogram, 500), 45 * USEC_SECOND);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("histogram");
    tcase_add_test(tests, bounds_are_far_apart);
    tcase_add_test(tests, each_span_has_its_class);
    tcase_add_test(tests, counts_and_sums);
    tcase_add_test(tests, quantiles);
    return unit_run("histogram", tests);
}
