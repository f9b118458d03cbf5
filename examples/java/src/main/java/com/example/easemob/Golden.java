package com.example.easemob;
final class Golden { public static void main(String[] a) { System.out.println(easemob.messaging.v1.SendMessageRequest.getDefaultInstance()); } }
