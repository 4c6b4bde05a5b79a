// SPDX-License-Identifier: Apache-2.0
//
// What this CPU is called, for people: reports of problems and tables of measurements. Nothing decides by it.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/kernels/cpu.hpp>

#include <cstddef>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#if defined(EFFICIENTVIT_ARM64) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(EFFICIENTVIT_ARM64) && defined(__linux__)
#include <fstream>
#include <iterator>
#endif

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE
namespace detail {

/// The core that an Arm CPU's implementer and part number (MIDR_EL1) stand for; "" where it is not one of these. From
/// the cores' technical reference manuals.
EFFICIENTVIT_COLD inline std::string_view arm_core(unsigned long implementer, unsigned long part) {
    struct Name {
        unsigned part;
        std::string_view name;
    };
    static constexpr Name names[] = {
        {0xd03, "Cortex-A53"},   {0xd04, "Cortex-A35"},  {0xd05, "Cortex-A55"},  {0xd07, "Cortex-A57"},
        {0xd08, "Cortex-A72"},   {0xd09, "Cortex-A73"},  {0xd0a, "Cortex-A75"},  {0xd0b, "Cortex-A76"},
        {0xd0c, "Neoverse-N1"},  {0xd0d, "Cortex-A77"},  {0xd40, "Neoverse-V1"}, {0xd41, "Cortex-A78"},
        {0xd42, "Cortex-A78AE"}, {0xd44, "Cortex-X1"},   {0xd46, "Cortex-A510"}, {0xd47, "Cortex-A710"},
        {0xd48, "Cortex-X2"},    {0xd49, "Neoverse-N2"}, {0xd4b, "Cortex-A78C"}, {0xd4d, "Cortex-A715"},
        {0xd4e, "Cortex-X3"},    {0xd4f, "Neoverse-V2"}, {0xd80, "Cortex-A520"}, {0xd81, "Cortex-A720"},
        {0xd82, "Cortex-X4"},    {0xd84, "Neoverse-V3"}, {0xd85, "Cortex-X925"}, {0xd87, "Cortex-A725"},
        {0xd8e, "Neoverse-N3"},
    };
    if (implementer != 0x41) return {};  // not one of Arm's own
    for (const Name& name : names) {
        if (name.part == part) return name.name;
    }
    return {};
}

/// "4 Cortex-A55, 4 Cortex-A76": the cores that Linux's /proc/cpuinfo tells of on Arm; "" if it tells of none.
EFFICIENTVIT_COLD inline std::string arm_cores(std::string_view cpuinfo) {
    std::map<std::string, int> count;
    unsigned long implementer = 0;
    while (!cpuinfo.empty()) {
        const std::string_view line = cpuinfo.substr(0, cpuinfo.find('\n'));
        cpuinfo.remove_prefix(line.size() < cpuinfo.size() ? line.size() + 1 : line.size());
        const std::size_t colon = line.find(": ");
        if (colon == std::string_view::npos) continue;
        const std::string value(line.substr(colon + 2));
        if (line.starts_with("CPU implementer")) implementer = std::strtoul(value.c_str(), nullptr, 16);
        if (!line.starts_with("CPU part")) continue;
        const std::string_view name = arm_core(implementer, std::strtoul(value.c_str(), nullptr, 16));
        ++count[name.empty() ? concat({"cores of part ", value}) : std::string(name)];
    }
    std::string text;
    for (const auto& [name, cores] : count) {
        text += concat({text.empty() ? "" : ", ", std::to_string(cores), " ", name});
    }
    return text;
}

/// The brand string of an x86 CPU or of Apple's, the cores of another Arm CPU; "" where the system does not tell.
EFFICIENTVIT_COLD inline std::string cpu_name() {
    std::string name;
#if defined(EFFICIENTVIT_X86)
    for (unsigned leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
        const CpuidRegisters r = cpuid(leaf, 0);
        for (const unsigned part : {r.eax, r.ebx, r.ecx, r.edx}) {
            for (unsigned shift = 0; shift < 32; shift += 8) name += static_cast<char>(part >> shift & 0xff);
        }
    }
    name.resize(name.find_last_not_of(std::string_view(" \0", 2)) + 1);
    name.erase(0, name.find_first_not_of(' '));
#elif defined(EFFICIENTVIT_ARM64) && defined(__APPLE__)
    char text[128] = "";
    std::size_t size = sizeof text - 1;
    if (::sysctlbyname("machdep.cpu.brand_string", text, &size, nullptr, 0) == 0) name = text;
#elif defined(EFFICIENTVIT_ARM64) && defined(__linux__)
    std::ifstream file("/proc/cpuinfo");
    name = arm_cores(std::string(std::istreambuf_iterator<char>(file), {}));
#endif
    return name;
}

}  // namespace detail
EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
