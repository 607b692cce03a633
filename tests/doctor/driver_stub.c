/* A stand-in for libnvidia-ml.so.1 with just what the doctor asks, driven by environment variables:
 *   DOCTOR_NVML_INIT      what nvmlInit returns (default 0)
 *   DOCTOR_NVML_HANG      if set, nvmlInit never returns, as with a wedged driver
 *   DOCTOR_NVML_COUNT     GPUs (default 1)
 *   DOCTOR_NVML_VERSION   the driver's version (default 560.35.03)
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *given(const char *name, const char *otherwise) {
    const char *text = getenv(name);
    return text != NULL ? text : otherwise;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    while (getenv("DOCTOR_NVML_HANG") != NULL) pause();
    return atoi(given("DOCTOR_NVML_INIT", "0"));
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { (void)code; return "stub error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    snprintf(text, size, "%s", given("DOCTOR_NVML_VERSION", "560.35.03"));
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)atoi(given("DOCTOR_NVML_COUNT", "1"));
    return 0;
}
