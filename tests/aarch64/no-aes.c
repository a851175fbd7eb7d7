/* Preloaded, it hides the instructions for AES and SHA from a program, which then sees the processor
 * of a Raspberry Pi 4. The Cortex-A72 that QEMU emulates has them all. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/auxv.h>
#include <asm/hwcap.h>

unsigned long getauxval(unsigned long type)
{
    unsigned long (*real)(unsigned long) = dlsym(RTLD_NEXT, "getauxval");
    unsigned long hidden = HWCAP_AES | HWCAP_PMULL | HWCAP_SHA1 | HWCAP_SHA2;
    unsigned long value = real(type);
    return type == AT_HWCAP ? value & ~hidden : value;
}
