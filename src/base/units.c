#include "units.h"

#include <stdio.h>
#include <stdlib.h>

const char *units_span(usec span, char text[static UNITS_TEXT])
{
    span = span > 0 ? span : 0;
    long long seconds = span / USEC_SECOND;
    long long minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
    if (days)
        snprintf(text, UNITS_TEXT, "%lldd %lldh", days, hours % 24);
    else if (hours)
        snprintf(text, UNITS_TEXT, "%lldh %lldm", hours, minutes % 60);
    else if (minutes)
        snprintf(text, UNITS_TEXT, "%lldm %llds", minutes, seconds % 60);
    else if (span >= USEC_SECOND) /* tenths are cut off, like the rest: never "60.0 s" */
        snprintf(text, UNITS_TEXT, "%lld.%lld s", seconds, (long long)(span / 100000 % 10));
    else if (span >= 1000 || span == 0)
        snprintf(text, UNITS_TEXT, "%lld ms", (long long)(span / 1000));
    else
        snprintf(text, UNITS_TEXT, "%lld us", (long long)span);
    return text;
}

const char *units_time(usec real, char text[static UNITS_TEXT])
{
    time_t seconds = real / USEC_SECOND;
    struct tm local;
    char stamp[32];
    if (!localtime_r(&seconds, &local) || strftime(stamp, sizeof stamp, "%FT%T", &local) == 0) {
        snprintf(text, UNITS_TEXT, "?");
        return text;
    }
    unsigned minutes = (unsigned)labs(local.tm_gmtoff) / 60;
    snprintf(text, UNITS_TEXT, "%.24s%c%02u:%02u", stamp, local.tm_gmtoff < 0 ? '-' : '+',
             minutes / 60 % 24, minutes % 60);
    return text;
}

const char *units_size(int64_t bytes, char text[static UNITS_TEXT])
{
    static const char *const words[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double size = (double)bytes;
    unsigned word = 0;
    for (; size >= 1024 && word + 1 < sizeof words / sizeof *words; word++)
        size /= 1024;
    snprintf(text, UNITS_TEXT, word ? "%.1f %s" : "%.0f %s", size, words[word]);
    return text;
}

bool digits_read(const char *text, uint64_t most, uint64_t *number)
{
    uint64_t value = 0;
    if (!*text || digits_padded(text))
        return false;
    for (; *text; text++) {
        unsigned digit = (unsigned)(*text - '0');
        if (digit > 9 || digit > most || value > (most - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}
