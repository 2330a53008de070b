/* Linked into measured binaries (tests/coverage/run). The counts are in a mapped file that all
 * processes of a binary share, so a worker that ends by _exit() or is killed need not write them. A
 * pool's check gives up all shared memory (master/check), but keeps this mapping. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

extern intptr_t __llvm_profile_counter_bias;
extern uint64_t *__llvm_profile_begin_counters(void);

/* Replaces libc's munmap() in the binary itself. */
__attribute__((visibility("hidden"))) int munmap(void *at, size_t size)
{
    uintptr_t counts =
        (uintptr_t)__llvm_profile_begin_counters() + (uintptr_t)__llvm_profile_counter_bias;
    return counts - (uintptr_t)at < size ? 0 : (int)syscall(SYS_munmap, at, size);
}
