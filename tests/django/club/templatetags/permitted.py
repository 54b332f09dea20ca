"""`{% permitted "can_edit" "group:42" %}`: what stands in it goes out to those alone who may. The Worker cuts it by its tags."""

from django import template
from django.utils.html import format_html

from club.blocks import BLOCK_KEY

register = template.Library()


def block(name, content, can, on):
    on = format_html(' on="{}"', on) if on else ""
    return format_html('<{0} key="{1}" can="{2}"{3}>{4}</{0} key="{1}">', name, BLOCK_KEY, can, on, content)


@register.simple_block_tag
def permitted(content, can, on=""):
    return block("if-permitted", content, can, on)


@register.simple_block_tag
def notpermitted(content, can, on=""):
    return block("if-not-permitted", content, can, on)
