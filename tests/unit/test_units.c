#include "../../src/base/units.h"
#include "unit.h"

#include <string.h>

#define MSEC   ((usec)1000)
#define MINUTE (60 * USEC_SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static const struct {
    usec span;
    const char *text;
} spans[] = {
    {0, "0 ms"},
    {-5, "0 ms"},
    {1, "1 us"},
    {MSEC - 1, "999 us"},
    {MSEC, "1 ms"},
    {85 * MSEC + 999, "85 ms"},
    {USEC_SECOND - 1, "999 ms"},
    {USEC_SECOND, "1.0 s"},
    {12 * USEC_SECOND + 340 * MSEC, "12.3 s"},
    {MINUTE - 1, "59.9 s"},
    {MINUTE, "1m 0s"},
    {HOUR - 1, "59m 59s"},
    {4 * HOUR + 5 * MINUTE, "4h 5m"},
    {3 * DAY + 4 * HOUR + 59 * MINUTE, "3d 4h"},
    {INT64_MAX, "106751991d 4h"},
    {INT64_MIN, "0 ms"},
};

START_TEST(spans_are_readable)
{
    char text[UNITS_TEXT];
    ck_assert_str_eq(units_span(spans[_i].span, text), spans[_i].text);
}
END_TEST

static const struct {
    const char *zone;
    usec real;
    const char *text;
} times[] = {
    {"UTC", 0, "1970-01-01T00:00:00+00:00"},
    {"UTC", 1795000000 * USEC_SECOND + 999999, "2026-11-18T11:06:40+00:00"},
    {"ABC-5:45", 0, "1970-01-01T05:45:00+05:45"},
    {"ABC+3:30", 0, "1969-12-31T20:30:00-03:30"},
    {"ABC+0:30", 0, "1969-12-31T23:30:00-00:30"},
};

START_TEST(times_have_their_offset)
{
    char text[UNITS_TEXT];
    setenv("TZ", times[_i].zone, 1);
    tzset();
    ck_assert_str_eq(units_time(times[_i].real, text), times[_i].text);
}
END_TEST

/* For any number in shared memory. */
START_TEST(no_time_breaks_it)
{
    static const usec odd[] = {INT64_MIN, INT64_MAX, -1, 1};
    char text[UNITS_TEXT];
    for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++)
        ck_assert_uint_lt(strlen(units_time(odd[i], text)), UNITS_TEXT);
}
END_TEST

START_TEST(sizes_are_readable)
{
    char text[UNITS_TEXT];
    ck_assert_str_eq(units_size(0, text), "0 B");
    ck_assert_str_eq(units_size(1023, text), "1023 B");
    ck_assert_str_eq(units_size(1536, text), "1.5 KiB");
    ck_assert_str_eq(units_size(12897484, text), "12.3 MiB");
    ck_assert_str_eq(units_size(INT64_MAX, text), "8388608.0 TiB");
    ck_assert_uint_lt(strlen(units_size(INT64_MIN, text)), UNITS_TEXT);
}
END_TEST

static const struct {
    const char *text;
    uint64_t most;
    bool fits;
    uint64_t number;
} digits[] = {
    {"0", 0, true, 0},
    {"1", 0, false, 0},
    {"007", 7, false, 0},
    {"00", 7, false, 0},
    {"8", 7, false, 0},
    {"65535", 65535, true, 65535},
    {"65536", 65535, false, 0},
    {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
    {"18446744073709551616", UINT64_MAX, false, 0},
    {"99999999999999999999999", UINT64_MAX, false, 0},
    {"", 9, false, 0},
    {"-1", 9, false, 0},
    {"+1", 9, false, 0},
    {" 1", 9, false, 0},
    {"1 ", 9, false, 0},
    {"1:", 9, false, 0},
    {"1/", 9, false, 0},
};

START_TEST(numbers_are_digits_alone)
{
    uint64_t number = 0;
    ck_assert_int_eq(digits_read(digits[_i].text, digits[_i].most, &number), digits[_i].fits);
    ck_assert_uint_eq(number, digits[_i].number);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("units");
    tcase_add_loop_test(tcase, spans_are_readable, 0, sizeof spans / sizeof *spans);
    tcase_add_loop_test(tcase, times_have_their_offset, 0, sizeof times / sizeof *times);
    tcase_add_test(tcase, no_time_breaks_it);
    tcase_add_test(tcase, sizes_are_readable);
    tcase_add_loop_test(tcase, numbers_are_digits_alone, 0, sizeof digits / sizeof *digits);
    return unit_run("units", tcase);
}
