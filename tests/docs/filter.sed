# SPDX-License-Identifier: Apache-2.0
#
# Doxygen's input filter. Every layer has these names and they mean the same in each: they are documented once, here,
# and stay uncluttered in the headers. What layers say among themselves (the concept detail::Layer) is no public matter.
s|^( *)(static constexpr int in_channels = )|\1/** Channels that the input must have; 0: any number. */ \2|
s|^( *)(static constexpr int out_channels = )|\1/** Channels of the output; 0: as many as come in. */ \2|
s|^( *)(static constexpr int stride = )|\1/** Input rows (and columns) for each of the output, rounded up. */ \2|
s#^( *)(static constexpr (int wanted_padding|bool reads_planar|bool fuses_residual)\b)#\1/** @private */ \2#
s#^( *)((EFFICIENTVIT_COLD )?(static detail::Extent output_extent|static void describe|void pack|void run)\()#\1/** @private */ \2#
# Placeholders in names, as <i> in stages.<i>.conv, are no HTML.
/\/\/\//s/<(i|j|s|stage)( [^>]*)?>/\&lt;\1\2\&gt;/g
# One README is the site's first page; Doxygen takes any other for it too, so those are not part of the site.
s#\[([^]]*)\]\(([a-z0-9/]+/README\.md)\)#\1: \2#g
# Doxygen 1.9 finds no heading in another page: there a link leads to the page.
s|\]\(([^)#]+\.md)#[^)]*\)|](\1)|g
