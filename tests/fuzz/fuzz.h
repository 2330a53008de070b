/* A fuzz target as libFuzzer calls it: it returns 0, or aborts the process. */
#ifndef PREFORKD_TESTS_FUZZ_H
#define PREFORKD_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#endif
