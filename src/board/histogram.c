#include "histogram.h"

const uint32_t histogram_bounds[HISTOGRAM_CLASSES] = {
    50,      100,     250,     500,      1000, /* from here on milliseconds */
    2500,    5000,    10000,   25000,    50000,    100000,   250000,     500000,
    1000000, 2500000, 5000000, 10000000, 30000000, 60000000, UINT32_MAX,
};

const uint8_t histogram_first[32] = {
    0,  0,  0,  0,  0,  0,  1,  2,  /* 1 to 128 usec */
    3,  4,  5,  5,  6,  7,  8,  9,  /* 256 usec to 33 ms */
    10, 11, 12, 13, 14, 14, 15, 16, /* 66 ms to 8 s */
    17, 18, 19, 19, 19, 19, 19, 19,
};

void histogram_add(struct histogram *to, const struct histogram *from)
{
    histogram_grow(&to->sum, from->sum);
    for (int i = 0; i < HISTOGRAM_CLASSES; i++)
        histogram_grow(&to->classes[i], from->classes[i]);
}

uint64_t histogram_total(const struct histogram *histogram)
{
    uint64_t total = 0;
    for (int i = 0; i < HISTOGRAM_CLASSES; i++)
        total += histogram->classes[i];
    return total;
}

usec histogram_quantile(const struct histogram *histogram, unsigned thousandths)
{
    double wanted = (double)histogram_total(histogram) * thousandths / 1000, below = 0;
    if (wanted <= 0)
        return 0;
    for (int i = 0; i < HISTOGRAM_CLASSES - 1; i++) {
        double here = (double)histogram->classes[i];
        double from = i ? histogram_bounds[i - 1] : 0;
        if (below + here >= wanted)
            return (usec)(from + (histogram_bounds[i] - from) * (wanted - below) / here);
        below += here;
    }
    return histogram_bounds[HISTOGRAM_CLASSES - 2];
}
